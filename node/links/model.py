"""One direction of a link as a pure function of time and chance: what simulator and shaper share.

`node.links.impairments.base` says what a set of impairments means; this file does it::

    enqueue ─► DUPLICATE ─► per copy: LOSS … REORDER ─► delay line ─► bottleneck ─► Delivery

The delay line lets copies out in order, so they reach the bottleneck in order too, and everything
about a packet is known when it is enqueued: its instant of delivery, or that it is dropped.
Only reordering breaks that: a copy that skips the line reaches the bottleneck before copies whose
service is already settled. It is served after the copies that are there when it arrives; those that
come from the line behind it keep the instants they were given, and the time it took is charged to the
next copy enqueued. Work is conserved, so the rate still holds over a busy period.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from random import Random
from typing import NamedTuple, TypeAlias

from node.links.impairments.base import PacketFate, Stage
from node.links.impairments.delay import Delay
from node.links.settings import Impairments
from node.protocol.time import SECOND, Duration, Instant

_Step: TypeAlias = Callable[[PacketFate, Random], None]
#: Bits in a byte times ns in a second: what a byte costs at 1 bit/s.
_BYTE_NS = 8 * SECOND


class Delivery(NamedTuple):
    """One copy that arrives at the other end."""

    #: When its last bit arrives.
    at: Instant
    #: Bit of the frame that is flipped, counted from the first; None: it is unharmed.
    corrupt_bit: int | None


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """What one direction has done since it was made."""

    #: Packets that entered.
    sent: int
    #: Copies that arrive, or will.
    delivered: int
    #: Copies dropped by loss.
    lost: int
    #: Copies dropped because the bottleneck's queue was full.
    overflowed: int
    #: Extra copies made.
    duplicated: int
    #: Copies delivered with a bit flipped.
    corrupted: int
    #: Copies that skipped the delay line.
    reordered: int


class LinkModel:
    """One direction of a link.

    ``now`` must not go back from one call to the next. Nothing is kept per packet but the bottleneck's
    departures, which its queue bounds.

    Args:
        impairments: what it does to packets.
        rng: its chance; the same seed gives the same fates.
    """

    def __init__(self, impairments: Impairments, rng: Random) -> None:
        self._rng = rng
        self._line_out: Instant = 0
        self._bottleneck = _Bottleneck()
        self._sent = self._lost = self._overflowed = 0
        self._duplicated = self._corrupted = self._reordered = 0
        self.replace(impairments)

    def enqueue(self, size: int, now: Instant) -> Sequence[Delivery]:
        """Send one packet; return its copies that arrive: none is dropped, two are duplicates.

        Args:
            size: bytes of the frame with its Ethernet header, without FCS.
            now: when it is sent, ns.
        """
        self._sent += 1
        if self._copying:
            fate = PacketFate(size)
            for step in self._copying:
                step(fate, self._rng)
            if fate.copies != 1:
                self._duplicated += fate.copies - 1
                copies = [self._pass(size, now) for _ in range(fate.copies)]
                return [copy for copy in copies if copy is not None]
        delivery = self._pass(size, now)
        return () if delivery is None else (delivery,)

    def replace(self, impairments: Impairments) -> None:
        """Do this to packets from now on. Those on their way keep the fate they were given."""
        #: What is done to packets.
        self.impairments = impairments
        items = [item for item in impairments.items if item.stage < Stage.QUEUE]
        self._copying: list[_Step] = [item.decide for item in items if item.stage < Stage.LOSS]
        # A constant delay is by far the commonest impairment: it is where the others start from.
        self._delay: Duration = impairments.delay
        self._steps: list[_Step] = [
            item.decide for item in items if item.stage >= Stage.LOSS and not isinstance(item, Delay)
        ]
        self._rate = impairments.rate
        if self._rate:
            self._bottleneck.configure(self._rate, impairments.queue, ordered=not impairments.reorder)
        else:
            # Without a bottleneck, what is still in the old one must not be overtaken.
            self._line_out = max(self._line_out, self._bottleneck.free)

    def counters(self) -> LinkCounters:
        """Return what it has done so far."""
        entered = self._sent + self._duplicated
        return LinkCounters(
            sent=self._sent,
            delivered=entered - self._lost - self._overflowed,
            lost=self._lost,
            overflowed=self._overflowed,
            duplicated=self._duplicated,
            corrupted=self._corrupted,
            reordered=self._reordered,
        )

    def _pass(self, size: int, now: Instant) -> Delivery | None:
        corrupt_bit: int | None = None
        out = now + self._delay
        reordered = False
        if self._steps:
            fate, rng = PacketFate(size, self._delay), self._rng
            for step in self._steps:
                step(fate, rng)
                if fate.dropped:
                    self._lost += 1
                    return None
            out = now + fate.delay_ns
            reordered = fate.reordered
            if fate.corrupt_bits:
                corrupt_bit = fate.corrupt_bits[0]
        if reordered:
            self._reordered += 1
        elif out < self._line_out:
            out = self._line_out
        else:
            self._line_out = out
        if self._rate:
            served = self._bottleneck.serve(size, out, now)
            if served is None:
                self._overflowed += 1
                return None
            out = served
        if corrupt_bit is not None:
            self._corrupted += 1
        return Delivery(out, corrupt_bit)


class _Bottleneck:
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
        duration, self._remainder = divmod(size * _BYTE_NS + self._remainder, self._rate)
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
        duration, self._remainder = divmod(size * _BYTE_NS + self._remainder, self._rate)
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
