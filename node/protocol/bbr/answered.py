"""Losses that have been answered already, as a probe's are by its end (SPEC 8.1.3-3, 8.1.3-10)."""

from __future__ import annotations

from node.protocol.recovery.samples import LossSample, LostBurst
from node.protocol.time import Instant


class AnsweredLosses:
    """Tells losses of what was sent before an answer from those after it.

    What is sent right after the answer cannot tell them apart by itself: all that is declared lost until it
    is acknowledged or lost counts as lost since its sending, and most of that was sent before.
    """

    def __init__(self) -> None:
        self._until: Instant = -1
        #: Bytes declared lost so far, when the last answer was given, and with the last loss of what was
        #: sent before it.
        self._lost = self._from = self._to = 0

    def answer(self, now: Instant) -> None:
        """Whatever was sent until now and is lost has been answered."""
        self._until = now
        self._from = self._to = self._lost

    def covers(self, sent: Instant) -> bool:
        """Whether what was sent then was sent before the last answer."""
        return sent <= self._until

    def unanswered(self, sample: LossSample) -> list[tuple[LostBurst, int]]:
        """Return the bursts sent since, each with the unanswered bytes of those lost since its sending."""
        found = []
        for burst in sample.bursts:
            self._lost += burst.size
            if self.covers(burst.sent):
                self._to = self._lost
            else:
                answered = max(0, self._to - max(self._from, self._lost - burst.lost))
                found.append((burst, burst.lost - answered))
        return found
