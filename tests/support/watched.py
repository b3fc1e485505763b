"""Endpoints that compare what they keep with what there is: nobody sleeps while there is something to do.

A connection that was not woken sleeps for ever, and shows it only where nothing else happens to wake it. So
both of its promises are tested after every call: the deadline that is kept is the one there is, and when
``transmit`` gives nothing, neither would it if all connections had just been woken (docs/decisions/0032).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.protocol.endpoint import Endpoint
from node.protocol.wire.frames import MaxStreamData
from tests.support.pair import Pair

if TYPE_CHECKING:
    from node.protocol.connection import Connection
    from node.protocol.datagrams import Burst, Transmit
    from node.protocol.time import Duration, Instant
    from node.protocol.wire.frames import Frame

#: The pacer counts the time of whole bytes: each look at it may round once more.
ROUNDING_NS: Duration = 2
#: Seeds of which one is watched.
WATCHED_ONE_IN = 10


class WatchedEndpoint(Endpoint):
    """An endpoint that fails when one of its connections sleeps though it has something to do."""

    #: Deadlines that were compared, and looks in vain.
    compared = looked = 0

    def receive(self, burst: Burst, *, now: Instant) -> None:
        super().receive(burst, now=now)
        self._compare()

    def handle_timeout(self, *, now: Instant) -> None:
        super().handle_timeout(now=now)
        self._compare()

    def transmit(self, *, now: Instant) -> Transmit | None:
        found = super().transmit(now=now)
        self._compare()
        if found is None:
            for connection in self.connections:
                self._look_again(connection, now)
        return found

    def next_timeout(self) -> Instant | None:
        self._compare()
        found = super().next_timeout()
        deadlines = [connection.next_timeout() for connection in self.connections]
        least = min((deadline for deadline in deadlines if deadline is not None), default=None)
        assert least is None or (found is not None and found <= least), "a deadline was left out"
        return found

    def _compare(self) -> None:
        for connection in self.connections:
            if connection.deadline_known:
                kept, found = connection.deadline(), connection.next_timeout()
                assert kept == found, f"{connection.state} sleeps until {kept}, but {found} is when it is due"
                self.compared += 1

    def _look_again(self, connection: Connection, now: Instant) -> None:
        if any(_goes_with_data(connection, frame) for frame in connection.builder.control):
            return
        before = connection.next_timeout()
        if before is not None and before <= now:
            return  # pacing by less than a nanosecond: it is to be asked again at once, and will be
        self.wake(connection)
        missed = super().transmit(now=now)
        assert missed is None, f"{connection.state} slept with {len(missed.buffer)} bytes to send"
        after = connection.next_timeout()
        same = after is None if before is None else after is not None and abs(after - before) <= ROUNDING_NS
        assert same, f"a look in vain has moved the deadline from {before} to {after}"
        self.looked += 1


def _goes_with_data(connection: Connection, frame: Frame) -> bool:
    """Whether it is credit for a stream of ours that nothing was written to: the peer knows of none yet."""
    sender = connection.streams.senders.get(frame.stream_id) if isinstance(frame, MaxStreamData) else None
    return sender is not None and not sender.written


class WatchedPair(Pair):
    """A pair of such endpoints."""

    endpoint = WatchedEndpoint

    @property
    def watched(self) -> tuple[int, int]:
        """How many deadlines were compared at both ends, and how many looks were in vain."""
        ends = [end for end in (self.left, self.right) if isinstance(end, WatchedEndpoint)]
        return sum(end.compared for end in ends), sum(end.looked for end in ends)


def pair_of(seed: int) -> type[Pair]:
    """Return what a seed runs on: every tenth is watched, at twice its price."""
    return Pair if seed % WATCHED_ONE_IN else WatchedPair
