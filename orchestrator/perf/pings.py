"""Pings under way, and what those that came back have shown: neither grows however long it goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from node.protocol.time import Duration, Instant


@dataclass(slots=True)
class PingResult:
    """What a ping has shown."""

    transmitted: int = 0
    #: How many came back in time.
    received: int = 0
    seconds: float = 0.0
    #: Round trips of those that came back, ns: the least, the most, the sum, and the sum of squares.
    least: Duration = 0
    most: Duration = 0
    total: int = 0
    squares: int = 0

    def add(self, round_trip: Duration) -> None:
        """Count one that came back."""
        self.least = min(self.least, round_trip) if self.received else round_trip
        self.most = max(self.most, round_trip)
        self.received += 1
        self.total += round_trip
        self.squares += round_trip * round_trip

    @property
    def average(self) -> float:
        """Mean round trip, ns."""
        return self.total / self.received

    @property
    def deviation(self) -> float:
        """What ping calls mean deviation, and is the standard deviation, ns."""
        # Whole numbers until here: their difference is exact.
        return math.sqrt(self.squares * self.received - self.total * self.total) / self.received


class PendingPings:
    """When each ping was sent that is still waited for.

    Args:
        wait: how long each is waited for, ns; one that comes back later is lost.
    """

    def __init__(self, wait: Duration) -> None:
        self._wait = wait
        # In order of sending.
        self._sent: dict[int, Instant] = {}

    def __len__(self) -> int:
        """How many are waited for."""
        return len(self._sent)

    def add(self, number: int, now: Instant) -> None:
        """Wait for one that was sent now."""
        self._sent[number] = now

    def take(self, number: int, at: Instant) -> Duration | None:
        """Return the round trip of one that came back at ``at``; None: nobody waits for it any more."""
        sent = self._sent.pop(number, None)
        return None if sent is None or at - sent > self._wait else at - sent

    def forget(self, now: Instant) -> None:
        """Wait no longer for those whose time is over."""
        while self._sent:
            number, sent = next(iter(self._sent.items()))
            if now - sent <= self._wait:
                return
            del self._sent[number]
