"""Makes repair symbols with one wrong bit."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.arena import Arena
from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.recovery.sent_packets import SentBurst
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("wrong-repair-symbol")
class WrongRepairSymbol(Mutant):
    """Makes repair symbols with one wrong bit."""

    breaks: ClassVar[tuple[str, ...]] = ("12.2-2",)
    left: ClassVar[Configuration] = Configuration(fec="xor")
    right: ClassVar[Configuration] = left

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Flip a bit of what is made."""
        fec = connection.fec
        assert fec is not None
        build = fec.build_repairs

        def wrong(arena: Arena, prefix: bytes, *, most: int, now: int) -> tuple[SentBurst, memoryview]:
            symbols = fec.writer.pending[0].symbols
            assert symbols is not None
            symbols[0][5] ^= 1
            return build(arena, prefix, most=most, now=now)

        fec.build_repairs = wrong  # type: ignore[method-assign]
