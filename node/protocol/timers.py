"""The timers of a connection that are not kept by a part of it (loss recovery keeps its own)."""

from __future__ import annotations

from enum import Enum

from node.protocol.time import Instant


class Timer(Enum):
    """What a deadline is for."""

    #: When to repeat INITIATION.
    INITIATION = "initiation"
    #: When to give the handshake up.
    HANDSHAKE = "handshake"
    #: When to drop a connection on which nothing happens.
    IDLE = "idle"
    #: When to forget a connection that was closed.
    CLOSE = "close"


class TimerTable:
    """Deadlines by timer."""

    def __init__(self) -> None:
        self._deadlines: dict[Timer, Instant] = {}
        #: When our only RESPONSE went out: its answer is an RTT sample. None: none, or several.
        self.responded_at: Instant | None = None

    def set(self, timer: Timer, deadline: Instant) -> None:
        """Set or move a deadline."""
        self._deadlines[timer] = deadline

    def clear(self, timer: Timer) -> None:
        """Unset a deadline."""
        self._deadlines.pop(timer, None)

    def clear_all(self) -> None:
        """Unset all deadlines."""
        self._deadlines.clear()

    def due(self, now: Instant) -> frozenset[Timer]:
        """Return the timers whose time has come."""
        return frozenset(t for t, deadline in self._deadlines.items() if deadline <= now)

    def next(self) -> Instant | None:
        """Return the earliest deadline."""
        return min(self._deadlines.values(), default=None)
