"""Sets bits of the type byte that mean nothing."""

from __future__ import annotations

from typing import ClassVar

from tests.mutants.base import MUTANTS, Mutant, rewrite
from tests.support.recorded import RecordedPair


@MUTANTS.register("sets-reserved-bits")
class SetsReservedBits(Mutant):
    """Sets bits of the type byte that mean nothing."""

    breaks: ClassVar[tuple[str, ...]] = ("1-2",)

    def break_node(self, pair: RecordedPair) -> None:
        """Set one in every twentieth packet."""
        count = 0

        def marked(datagram: bytes) -> list[bytes]:
            nonlocal count
            count += 1
            if count % 20 or datagram[0] != 0x41:
                return [datagram]
            return [bytes([0x61]) + datagram[1:]]

        rewrite(pair.left, marked)
