"""The timers of a connection that are not kept by a part of it (loss recovery keeps its own)."""

from __future__ import annotations

from enum import Enum

from node.protocol.time import Instant


class Timer(Enum):
    """What a deadline is for."""

    __hash__ = object.__hash__  # Enum's own is Python code, and this is asked for every packet

    #: When to repeat INITIATION.
    INITIATION = "initiation"
    #: When to repeat COMPLETION.
    COMPLETION = "completion"
    #: When to give the handshake up.
    HANDSHAKE = "handshake"
    #: When to drop a connection on which nothing happens.
    IDLE = "idle"
    #: When to send something, so that nothing on the way forgets an idle connection (SPEC 9-4).
    KEEP_ALIVE = "keep alive"
    #: When to forget a connection that was closed.
    CLOSE = "close"
    #: When to forget the keys of the phase before (SPEC 4.2-6).
    OLD_KEYS = "old keys"


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


def earliest(*deadlines: Instant | None) -> Instant | None:
    """Return the first of the deadlines there are."""
    found: Instant | None = None
    for deadline in deadlines:  # a loop, not min() of a generator: this is asked for after every packet
        if deadline is not None and (found is None or deadline < found):
            found = deadline
    return found
