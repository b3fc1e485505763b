"""Sends packets whose numbers do not rise."""

from __future__ import annotations

from typing import ClassVar

from tests.mutants.base import MUTANTS, Mutant, rewrite
from tests.support.recorded import RecordedPair


@MUTANTS.register("numbers-fall")
class NumbersFall(Mutant):
    """Sends packets whose numbers do not rise."""

    breaks: ClassVar[tuple[str, ...]] = ("4-1",)

    def break_node(self, pair: RecordedPair) -> None:
        """Exchange each two packets, behind the first flight."""
        kept: list[bytes] = []
        count = 0

        def swapped(datagram: bytes) -> list[bytes]:
            nonlocal count
            count += datagram[0] == 0x41
            if datagram[0] != 0x41 or count < 5:
                return [datagram]
            if not kept:
                kept.append(datagram)
                return []
            return [datagram, kept.pop()]

        rewrite(pair.left, swapped)
