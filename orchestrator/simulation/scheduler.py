"""Virtual time, and the queue of what is still to happen."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, TypeAlias

from node.protocol.time import Instant

#: What happens: called with its argument when the clock has reached its instant.
Action: TypeAlias = Callable[[Any], None]

#: More steps than this at one instant are a loop without progress: a busy simulation of a thousand
#: nodes stays below one per cent of it.
MAX_STEPS_AT_ONE_INSTANT = 1_000_000


class LivelockError(RuntimeError):
    """Virtual time stands still although things happen; only a bug of ours can cause it."""


class Scheduler:
    """A clock that only moves by doing the next thing that is due.

    What is due at the same instant is done in the order in which it was scheduled, so a run depends on
    nothing but its inputs.
    """

    __slots__ = ("_at_instant", "_queue", "_sequence", "now", "steps")

    def __init__(self, *, start: Instant = 0) -> None:
        #: The virtual clock, ns.
        self.now: Instant = start
        #: How many things have been done.
        self.steps = 0
        self._at_instant = 0
        self._sequence = 0
        # Never compares beyond the sequence number, which is unique.
        self._queue: list[tuple[Instant, int, Action, Any]] = []

    def at(self, instant: Instant, action: Action, argument: Any = None) -> None:  # Any: handed through
        """Do ``action(argument)`` at ``instant``, which must not be in the past."""
        assert instant >= self.now, f"{instant} ns is before {self.now} ns"
        self._sequence += 1
        heapq.heappush(self._queue, (instant, self._sequence, action, argument))

    def step(self) -> bool:
        """Do the next thing; return False when there is none."""
        if not self._queue:
            return False
        instant, _, action, argument = heapq.heappop(self._queue)
        if instant > self.now:
            self.now = instant
            self._at_instant = 0
        self._at_instant += 1
        if self._at_instant > MAX_STEPS_AT_ONE_INSTANT:
            raise LivelockError(f"{self._at_instant} steps at {instant} ns; the last one is {action!r}")
        self.steps += 1
        action(argument)
        return True

    def next_at(self) -> Instant | None:
        """Return when the next thing is due; None: nothing is."""
        return self._queue[0][0] if self._queue else None

    def advance(self, instant: Instant) -> None:
        """Move the clock to ``instant``; nothing may be due before it."""
        assert instant >= self.now
        assert not self._queue or self._queue[0][0] >= instant
        if instant > self.now:
            self.now = instant
            self._at_instant = 0

    def run(self, *, until: Instant | None = None, max_steps: int | None = None) -> int:
        """Do everything due until ``until`` (inclusive; None: all), at most ``max_steps`` things.

        Returns:
            how many things were done.
        """
        done = 0
        while max_steps is None or done < max_steps:
            if not self._queue or (until is not None and self._queue[0][0] > until):
                break
            self.step()
            done += 1
        return done

    def __len__(self) -> int:
        return len(self._queue)
