"""What a managed queue is, and the server behind it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from node.protocol.time import SECOND, Instant

#: Bits in a byte times ns in a second: what a byte costs at 1 bit/s.
BYTE_NS = 8 * SECOND
#: A full Ethernet frame without FCS: psched_mtu() of a device with an MTU of 1500.
FULL_FRAME = 1_514


@dataclass(slots=True)
class Queued:
    """One copy of a packet that waits."""

    size: int
    #: What the driver knows it by.
    item: object
    #: Whether it may be marked instead of dropped.
    ecn_capable: bool
    #: Equal for packets of one flow.
    flow: object
    corrupt_bit: int | None = None
    marked: bool = False
    #: When it came to the queue.
    arrived: Instant = 0


class Discipline(Protocol):
    """A queue: it takes packets, and says which is served next. ``now`` never goes back."""

    #: Waiting, without the one in service.
    packets: int
    size: int
    #: Bytes of the packet in service; 0: the server is free. Set by the server.
    in_service: int

    def enqueue(self, queued: Queued, now: Instant) -> None:
        """Take a packet, or drop it."""
        ...

    def dequeue(self, now: Instant) -> Queued | None:
        """Return what is served next; None: nothing is left (the head may be dropped on the way)."""
        ...

    def take(self) -> list[Queued]:
        """Give up all that waits, in order of arrival."""
        ...


@dataclass(slots=True)
class Tally:
    """What queues count, across changes of the queue."""

    dropped: int = 0
    marked: int = 0
    #: Is told what the driver knows a dropped packet by; None: nobody wants to know.
    on_dropped: Callable[[object], None] | None = None

    def drop(self, queued: Queued) -> None:
        """Count a packet that goes no further."""
        self.dropped += 1
        if self.on_dropped is not None:
            self.on_dropped(queued.item)

    def mark(self, queued: Queued) -> bool:
        """Mark a packet if it may be; return whether it is."""
        if queued.ecn_capable and not queued.marked:
            queued.marked = True
            self.marked += 1
        return queued.marked


class Fifo:
    """Packets in order of arrival, counted: what the disciplines are made of."""

    def __init__(self, tally: Tally) -> None:
        self.packets = self.size = self.in_service = 0
        self._waiting: deque[Queued] = deque()
        self._tally = tally

    @property
    def occupied(self) -> int:
        """Packets here, the one in service counted in, as the kernel counts what was peeked at."""
        return self.packets + (self.in_service > 0)

    @property
    def occupied_bytes(self) -> int:
        """Bytes here, the packet in service counted in."""
        return self.size + self.in_service

    def append(self, queued: Queued, now: Instant) -> None:
        """Take a packet."""
        queued.arrived = now
        self._waiting.append(queued)
        self.packets += 1
        self.size += queued.size

    def pop(self) -> Queued | None:
        """Take the first packet off."""
        if not self._waiting:
            return None
        queued = self._waiting.popleft()
        self.packets -= 1
        self.size -= queued.size
        return queued

    def take(self) -> list[Queued]:
        """Give up all that waits, in order of arrival."""
        waiting = list(self._waiting)
        self._waiting.clear()
        self.packets = self.size = 0
        return waiting

    def drop(self, queued: Queued) -> None:
        """Count a packet that goes no further."""
        self._tally.drop(queued)

    def mark(self, queued: Queued) -> bool:
        """Mark a packet if it may be; return whether it is."""
        return self._tally.mark(queued)


class Pace(Protocol):
    """How fast a server serves."""

    def finish(self, at: Instant, size: int) -> Instant:
        """Return when a packet of ``size`` bytes has been sent whose service begins at ``at``."""
        ...


class Rate:
    """So many bits a second; no rounding adds up over a busy period."""

    def __init__(self, rate_bps: int) -> None:
        self._rate = rate_bps
        self._finished: Instant = -1
        # What a division left over, in bit · ns.
        self._remainder = 0

    def finish(self, at: Instant, size: int) -> Instant:
        """Return when a packet has been sent."""
        if at != self._finished:
            self._remainder = 0
        duration, self._remainder = divmod(size * BYTE_NS + self._remainder, self._rate)
        self._finished = at + duration
        return self._finished


class Server:
    """Serves a discipline at a pace, one packet after the other: exact in ns.

    Packets are announced in advance, with their time of arrival (they come out of a delay line); ``advance``
    lets everything happen that is due.
    """

    def __init__(self, pace: Pace, discipline: Discipline, *, free: Instant = 0) -> None:
        self.discipline = discipline
        #: How fast packets go from the next one on.
        self.pace = pace
        #: When the packet in service has been sent.
        self.free = free
        self._arrivals: list[tuple[Instant, int, Queued]] = []
        self._sequence = 0

    def offer(self, queued: Queued, arrival: Instant) -> None:
        """Announce a packet."""
        self._sequence += 1
        heapq.heappush(self._arrivals, (arrival, self._sequence, queued))

    def configure(self, pace: Pace, discipline: Discipline) -> None:
        """Go on at another pace and with another discipline, which takes over what waits."""
        self.pace = pace
        discipline.in_service = self.discipline.in_service
        for queued in self.discipline.take():
            discipline.enqueue(queued, queued.arrived)
        self.discipline = discipline

    def finish(self, deliver: Callable[[Queued, Instant], None]) -> None:
        """Serve all that has been announced, as if nothing else came."""
        while (at := self.next_at()) is not None:
            self.advance(at, deliver)

    def next_at(self) -> Instant | None:
        """Return when something happens; None: nothing will."""
        arrival = self._arrivals[0][0] if self._arrivals else None
        if not self.discipline.packets:
            return arrival
        return self.free if arrival is None else min(self.free, arrival)

    def advance(self, now: Instant, deliver: Callable[[Queued, Instant], None]) -> None:
        """Let all happen that is due; ``deliver`` is told when what is served has been sent."""
        discipline = self.discipline
        while (at := self.next_at()) is not None and at <= now:
            if self.free <= at:
                discipline.in_service = 0
            # At one instant a packet leaves before another comes.
            if self._arrivals and self._arrivals[0][0] == at and not (discipline.packets and self.free <= at):
                discipline.enqueue(heapq.heappop(self._arrivals)[2], at)
            if self.free <= at and discipline.packets:
                self._serve(at, deliver)

    def _serve(self, at: Instant, deliver: Callable[[Queued, Instant], None]) -> None:
        queued = self.discipline.dequeue(at)
        if queued is None:
            return
        self.free = self.pace.finish(at, queued.size)
        self.discipline.in_service = queued.size
        deliver(queued, self.free)
