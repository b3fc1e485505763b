"""Sends its INITIATION without padding."""

from __future__ import annotations

from typing import ClassVar

from node.dissectors.protection import crc32c
from tests.mutants.base import MUTANTS, Mutant, rewrite
from tests.support.recorded import RecordedPair


@MUTANTS.register("unpadded-first-flight")
class UnpaddedFirstFlight(Mutant):
    """Sends its INITIATION without padding."""

    breaks: ClassVar[tuple[str, ...]] = ("3-1",)

    def break_node(self, pair: RecordedPair) -> None:
        """Cut the padding off every second one, so that the other gets through."""
        count = 0

        def cut(datagram: bytes) -> list[bytes]:
            nonlocal count
            if datagram[0] != 0xC1:
                return [datagram]
            count += 1
            body = datagram[:-4].rstrip(b"\0")
            short = body + crc32c(body).to_bytes(4, "big")
            return [short, datagram]

        rewrite(pair.left, cut)
