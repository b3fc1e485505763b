"""A drop-tail queue of packets in front of one server: the commonest bottleneck, and the fastest one."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from operator import itemgetter

from node.links.queues.base import BYTE_NS
from node.protocol.time import Instant


class Bottleneck:
    """A drop-tail queue of packets in front of one server: exact in ns, without a packet in it."""

    def __init__(self) -> None:
        #: When the server has done all that was given to it.
        self.free: Instant = 0
        self._rate = 1
        self._limit = 1
        self._ordered = True
        # What a division left over, in bit · ns: no rounding adds up over a busy period.
        self._remainder = 0
        self._departures: deque[Instant] = deque()
        # Only when packets may overtake: (arrival, departure) in order of arrival.
        self._settled: list[tuple[Instant, Instant]] = []

    def configure(self, rate_bps: int, limit: int, *, ordered: bool) -> None:
        """Serve at a rate and hold so many packets; what has been settled stays so."""
        if ordered != self._ordered:
            self._departures.clear()
            self._settled.clear()
        self._remainder = 0
        self._rate, self._limit, self._ordered = rate_bps, limit, ordered

    def serve(self, size: int, arrival: Instant, now: Instant) -> Instant | None:
        """Return when a packet that arrives at ``arrival`` has been sent; None: the queue is full."""
        if not self._ordered:
            return self._serve_overtaking(size, arrival, now)
        departures = self._departures
        while departures and departures[0] <= arrival:
            departures.popleft()
        if len(departures) >= self._limit:
            return None
        if arrival > self.free:
            self.free = arrival
            self._remainder = 0
        duration, self._remainder = divmod(size * BYTE_NS + self._remainder, self._rate)
        self.free += duration
        departures.append(self.free)
        return self.free

    def _serve_overtaking(self, size: int, arrival: Instant, now: Instant) -> Instant | None:
        settled = self._settled
        while settled and settled[0][1] <= now:
            del settled[0]
        before = bisect_right(settled, (arrival, 1 << 63))
        present = before - bisect_right(settled, arrival, 0, before, key=itemgetter(1))
        if present >= self._limit:
            return None
        duration, self._remainder = divmod(size * BYTE_NS + self._remainder, self._rate)
        if before == len(settled):
            departure = self.free = max(self.free, arrival) + duration
        else:
            departure = max(arrival, settled[before - 1][1] if before else 0) + duration
            self.free += duration
            # Both columns stay sorted, which the counting above rests on.
            settled.insert(before, (arrival, min(departure, settled[before][1])))
            return departure
        settled.append((arrival, departure))
        return departure
