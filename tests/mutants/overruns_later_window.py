"""Forgets its window, long after the first flight."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.time import MILLISECOND, SECOND
from tests.mutants.base import MUTANTS, Mutant, write
from tests.support.pair import Fate, hostile
from tests.support.recorded import RecordedPair


@MUTANTS.register("overruns-later-window")
class OverrunsLaterWindow(Mutant):
    """Forgets its window, long after the first flight."""

    breaks: ClassVar[tuple[str, ...]] = ("8.1-1",)
    network: ClassVar[Fate] = staticmethod(hostile(loss=0.005, reorder=0.05))

    def work(self, pair: RecordedPair) -> None:
        """Send little at a time, so that the window stays small; then much at once."""
        write(pair, 30_000)
        for _ in range(40):
            write(pair, 10_000)
            pair.run_for(30 * MILLISECOND)
        if self.broken:
            pair.connection.recovery.congestion.congestion_window = 1 << 20
            pair.connection.recovery.pacer._tokens = 1 << 20
        write(pair, 600_000)
        pair.run_for(5 * SECOND)
