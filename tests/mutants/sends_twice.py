"""Sends the very same packet a second time."""

from __future__ import annotations

from typing import ClassVar

from tests.mutants.base import MUTANTS, Mutant, rewrite
from tests.support.recorded import RecordedPair


@MUTANTS.register("sends-twice")
class SendsTwice(Mutant):
    """Sends the very same packet a second time."""

    breaks: ClassVar[tuple[str, ...]] = ("4-1",)

    def break_node(self, pair: RecordedPair) -> None:
        """Double every tenth packet."""
        count = 0

        def doubled(datagram: bytes) -> list[bytes]:
            nonlocal count
            count += 1
            return [datagram] * (2 if count % 10 == 0 and datagram[0] == 0x41 else 1)

        rewrite(pair.left, doubled)
