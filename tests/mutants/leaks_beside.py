"""Sends the beginning of its data in clear as well, as a packet of no known type."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from tests.mutants.base import MUTANTS, Mutant, rewrite
from tests.support.recorded import RecordedPair


@MUTANTS.register("leaks-beside")
class LeaksBeside(Mutant):
    """Sends the beginning of its data in clear as well, as a packet of no known type."""

    breaks: ClassVar[tuple[str, ...]] = ("4.1-1",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Say it beside the first packet."""
        told: list[bytes] = []

        def beside(datagram: bytes) -> list[bytes]:
            streams = connection.streams.senders
            for stream in streams.values():
                data = bytearray(min(64, stream.written))
                if data and not told and stream.high_water >= 64:
                    stream.copy_into(memoryview(data), 0)
                    told.append(bytes(data))
                    return [datagram, b"\x07" + bytes(data)]
            return [datagram]

        rewrite(pair.left, beside)
