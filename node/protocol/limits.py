"""What keeps a sender from sending, and for how long each cause did (SPEC 16-6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from node.protocol.time import Duration, Instant

if TYPE_CHECKING:
    from node.protocol.observer import Observer

#: What can keep a sender from sending now.
#:
#: - ``application``: there is nothing to send.
#: - ``congestion``: the congestion window is full.
#: - ``flow-control``: the peer's credit, of a stream or of the connection, is used up.
#: - ``pacing``: the next burst is not due yet.
#: - ``path``: the peer has still to prove its address (SPEC 13.2-3).
#: - ``arq``: the ARQ mode lets no more packets be open.
#: - ``cpu``: the next burst is due, and nobody asked for it: the driver had no time, or its socket was full.
CAUSES = ("application", "congestion", "flow-control", "pacing", "path", "arq", "cpu")

#: What is left waits for: a cause; when a burst held back by pacing may go; whether data is in flight.
Wait: TypeAlias = tuple[str, Instant | None, bool]


class Limits:
    """Counts the time of one connection by cause.

    Nothing is asked of the driver: that it came late shows in ``now``, once a burst was due before.

    Args:
        observer: told when the cause changes.
    """

    def __init__(self, now: Instant, observer: Observer | None = None) -> None:
        self._observer = observer
        #: What keeps us from sending since the last try.
        self.cause = "application"
        self.times: dict[str, Duration] = dict.fromkeys(CAUSES, 0)
        #: Time in which there was data in flight, or to send.
        self.busy: Duration = 0
        self._busy = False
        self._since = now
        self._due: Instant | None = None
        #: What ``drained`` was told last: as long as it is the same, there is nothing to tell.
        self.wait: Wait = ("application", None, False)

    def drained(self, wait: Wait, *, now: Instant) -> None:
        """All that may go now has gone."""
        self.count(now)
        self.wait = cause, due, busy = wait
        if self._observer is not None and cause != self.cause:
            self._observer.limited(cause, now)
        self.cause, self._due, self._busy = cause, due, busy or cause != "application"

    def count(self, now: Instant) -> None:
        """Count the time that has passed."""
        passed = now - self._since
        if passed <= 0:
            return
        self._since = now
        if self._busy:
            self.busy += passed
        if self._due is not None and now > self._due:
            late = min(passed, now - self._due)
            self.times["cpu"] += late
            passed -= late
        self.times[self.cause] = self.times.get(self.cause, 0) + passed
