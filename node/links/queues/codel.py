"""CoDel (RFC 8289): drop from the head what has waited too long for too long.

Follows the RFC's pseudocode in the form that Linux gave it (include/net/codel_impl.h), since one meaning with
the kernel's qdisc is what is wanted; where the two differ, a comment says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import TypeAlias

from node.links.queues.base import FULL_FRAME, Fifo, Queued, Tally
from node.protocol.time import MILLISECOND, Duration, Instant

#: RFC 8289 §4.3 and §4.4.
TARGET: Duration = 5 * MILLISECOND
INTERVAL: Duration = 100 * MILLISECOND
#: Linux goes on where it left off if it dropped within so many intervals (the RFC says 16 in its §5.5).
_MEMORY_INTERVALS = 16

_Pop: TypeAlias = Callable[[], Queued | None]


@dataclass(slots=True)
class CodelState:
    """The state of one queue's control loop; names are the RFC's (§5.2)."""

    first_above_time: Instant = 0
    drop_next: Instant = 0
    count: int = 0
    lastcount: int = 0
    dropping: bool = False

    def dequeue(
        self,
        now: Instant,
        *,
        pop: _Pop,
        backlog: Callable[[], int],
        drop: Callable[[Queued], None],
        mark: Callable[[Queued], bool],
    ) -> Queued | None:
        """Return what is served next (RFC 8289 §5.5).

        Args:
            pop: takes the first packet off the queue.
            backlog: bytes that wait behind it.
            drop: is told of what is dropped.
            mark: marks a packet; returns whether it could be.
        """
        queued = pop()
        late = self._late(queued, now, backlog())
        if self.dropping:
            if not late:
                self.dropping = False
            while queued is not None and self.dropping and now >= self.drop_next:
                self.count += 1
                if mark(queued):
                    self.drop_next = self._control_law(self.drop_next)
                    break
                drop(queued)
                queued = pop()
                if self._late(queued, now, backlog()):
                    self.drop_next = self._control_law(self.drop_next)
                else:
                    self.dropping = False
        elif late:
            assert queued is not None
            if not mark(queued):
                drop(queued)
                queued = pop()
                self._late(queued, now, backlog())
            self._begin_dropping(now)
        return queued

    def _begin_dropping(self, now: Instant) -> None:
        self.dropping = True
        since = self.count - self.lastcount
        recently = now - self.drop_next < _MEMORY_INTERVALS * INTERVAL
        self.count = since if since > 1 and recently else 1
        self.lastcount = self.count
        self.drop_next = self._control_law(now)

    def _late(self, queued: Queued | None, now: Instant, backlog: int) -> bool:
        """Return whether the sojourn time has been above the target for an interval (§5.4: dodequeue)."""
        if queued is None or now - queued.arrived < TARGET or backlog <= FULL_FRAME:
            self.first_above_time = 0
            return False
        if not self.first_above_time:
            self.first_above_time = now + INTERVAL
            return False
        return now > self.first_above_time

    def _control_law(self, at: Instant) -> Instant:
        return at + int(INTERVAL / sqrt(self.count))


class Codel(Fifo):
    """One queue under CoDel, at most ``limit`` packets.

    Args:
        ecn: whether it marks instead of dropping.
    """

    def __init__(self, limit: int, tally: Tally, *, ecn: bool) -> None:
        super().__init__(tally)
        self._limit = limit
        self._ecn = ecn
        self._state = CodelState()

    def enqueue(self, queued: Queued, now: Instant) -> None:
        """Take a packet if there is a place."""
        if self.occupied >= self._limit:
            self.drop(queued)
        else:
            self.append(queued, now)

    def dequeue(self, now: Instant) -> Queued | None:
        """Return what is served next."""
        return self._state.dequeue(
            now,
            pop=self.pop,
            backlog=lambda: self.size,
            drop=self.drop,
            mark=self.mark if self._ecn else lambda _: False,
        )
