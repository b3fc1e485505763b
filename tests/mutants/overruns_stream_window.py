"""Sends beyond the stream's maximum."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.streams.send import SendStream
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("overruns-stream-window")
class OverrunsStreamWindow(Mutant):
    """Sends beyond the stream's maximum."""

    breaks: ClassVar[tuple[str, ...]] = ("6-2",)
    right: ClassVar[Configuration] = Configuration(stream_window=30_000, initial_stream_window=30_000)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Take the peer for more generous than it is."""
        make = connection.streams.open

        def generous(*, unidirectional: bool) -> int:
            stream_id = make(unidirectional=unidirectional)
            stream: SendStream = connection.streams.sender(stream_id)
            stream.max_data += 80_000
            return stream_id

        connection.streams.open = generous  # type: ignore[method-assign]

    def work(self, pair: RecordedPair) -> None:
        """Send to a peer that reads nothing."""
        pair.read = False
        super().work(pair)
