"""One direction of a link as a pure function of time and chance: what simulator and shaper share.

`node.links.impairments.base` says what a set of impairments means; this file does it::

    enqueue ─► fate given? ─► DUPLICATE ─► per copy: LOSS … REORDER
            ─► delay line ─► SLOT ─► bottleneck ─► Delivery

The delay line lets copies out in order, so they reach the bottleneck in order too, and with a drop-tail
queue of packets everything is known when a packet is enqueued: its instant of delivery, or its drop.
Two things break that:

* *Reordering*: a copy that skips the line reaches the bottleneck before copies whose service is already
  settled. It is served after the copies that are there when it arrives; those that come from the line
  behind it keep the instants they were given, and the time it took is charged to the next copy enqueued.
  Work is conserved, so the rate still holds over a busy period.
* *Queues that decide when they serve* (CoDel drops from the head, FQ-CoDel has several queues). Then a packet
  waits in the model: ``next_at`` says when ``advance`` has to be called, and that returns what is delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from node.links.bottleneck import Bottleneck
from node.links.fates import Fates, GivenCopy, dropped_by
from node.links.impairments.base import Decide, PacketFate, Stage
from node.links.impairments.delay import Delay
from node.links.queues.base import Pace, Queued, Rate, Server, Tally
from node.links.queues.choice import discipline
from node.links.settings import Impairments
from node.links.slots import Slots
from node.links.traces import NO_TRACE, Opportunities
from node.protocol.time import Duration, Instant


class Delivery(NamedTuple):
    """One copy that arrives at the other end."""

    #: When its last bit arrives.
    at: Instant
    #: Bit of the frame that is flipped, counted from the first; None: it is unharmed.
    corrupt_bit: int | None = None
    #: Whether the IP header is to say Congestion Experienced.
    marked: bool = False
    #: What ``enqueue`` was given.
    item: object = None


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """What one direction has done since it was made."""

    #: Packets that entered.
    sent: int
    #: Copies that arrive, or will.
    delivered: int
    #: Copies dropped by loss.
    lost: int
    #: Copies dropped at the bottleneck: its queue was full, or its management chose so.
    overflowed: int
    #: Extra copies made.
    duplicated: int
    #: Copies delivered with a bit flipped.
    corrupted: int
    #: Copies that skipped the delay line.
    reordered: int
    #: Copies marked with Congestion Experienced.
    marked: int = 0


class LinkModel:
    """One direction of a link.

    ``now`` must not go back from one call to the next. Nothing is kept per packet but the bottleneck's
    departures, which its queue bounds, and the packets in a managed queue.

    Args:
        impairments: what it does to packets.
        rng: its chance; the same seed gives the same fates.
        fates: what becomes of packets by their number, if that is known; goes before the impairments.
    """

    def __init__(self, impairments: Impairments, rng: Random, *, fates: Fates | None = None) -> None:
        self._rng = self._own_rng = rng
        self._given = fates
        self._number = 0
        self._line_out: Instant = 0
        self._bottleneck = Bottleneck()
        self._server: Server | None = None
        # Served by a server that is no more, and not fetched yet.
        self._ready: list[Delivery] = []
        self._tally = Tally()
        self._sent = self._lost = self._overflowed = 0
        self._duplicated = self._corrupted = self._reordered = self._marked = 0
        self._seed: int | None = None
        self._trace = NO_TRACE
        # When the trace began; None: with the next packet.
        self._trace_start: Instant | None = None
        self._next_step = 0
        self.replace(impairments)

    def on_dropped(self, told: Callable[[object], None]) -> None:
        """Let ``told`` know the item of each copy that a managed queue drops."""
        self._tally.on_dropped = told

    def begin(self, *, now: Instant) -> None:
        """Let the run start: the next packet has number 1, and a trace begins anew."""
        self._number = 0
        self._start_trace(now)

    def enqueue(
        self, size: int, now: Instant, *, item: object = None, ecn_capable: bool = False, flow: object = 0
    ) -> Sequence[Delivery]:
        """Send one packet; return its copies that arrive: none is dropped, two are duplicates.

        Where a managed queue holds packets, they are returned by ``advance`` instead.

        Args:
            size: bytes of the frame with its Ethernet header, without FCS.
            now: when it is sent, ns.
            item: handed back with each copy.
            ecn_capable: whether its IP header says ECT or CE.
            flow: equal for packets of one flow.
        """
        self._sent += 1
        self._number += 1
        if self._prescribed:
            self._follow_trace(now)
            for fates in self._fates:
                given = fates(self._number)
                if given is not None:
                    return self._as_given(given, now, item)
        if self._copying:
            fate = PacketFate(size)
            for step in self._copying:
                step(fate, self._rng)
            if fate.copies != 1:
                self._duplicated += fate.copies - 1
                copies = [self._pass(size, now, item, ecn_capable, flow) for _ in range(fate.copies)]
                return [copy for copy in copies if copy is not None]
        delivery = self._pass(size, now, item, ecn_capable, flow)
        return () if delivery is None else (delivery,)

    @property
    def managed(self) -> bool:
        """Whether ``advance`` may have something to do: packets wait in a managed queue."""
        return self._server is not None or bool(self._ready)

    def next_at(self) -> Instant | None:
        """Return when ``advance`` has to be called; None: nothing waits that is not known to arrive."""
        if self._ready:
            return 0
        return self._server.next_at() if self._server is not None else None

    def advance(self, now: Instant) -> list[Delivery]:
        """Return the copies that managed queues have let go until now; their instants may be later."""
        if self._trace.steps:
            self._follow_trace(now)
        ready, self._ready = self._ready, []
        if self._server is not None:
            self._server.advance(now, lambda queued, at: ready.append(self._served(queued, at)))
        return ready

    def replace(self, impairments: Impairments) -> None:
        """Do this to packets from now on. Those on their way keep the fate they were given."""
        #: What is done to packets.
        self.impairments = impairments
        if impairments.seed != self._seed:
            self._seed = impairments.seed
            self._rng = self._own_rng if self._seed is None else Random(f"netem/{self._seed}")
        self._fates = [fates for fates in (self._given, dropped_by(impairments)) if fates is not None]
        modifiers = impairments.modifiers()
        acting = [
            (item.stage, item.decider(modifiers)) for item in impairments.items if not isinstance(item, Delay)
        ]
        self._copying: list[Decide] = [
            decide for stage, decide in acting if decide is not None and stage <= Stage.DUPLICATE
        ]
        # A constant delay is by far the commonest impairment: it is where the others start from.
        self._delay: Duration = impairments.delay
        self._steps: list[Decide] = [
            decide for stage, decide in acting if decide is not None and stage > Stage.DUPLICATE
        ]
        self._slots = Slots(impairments.slot, self._rng) if impairments.slot.longest else None
        #: Whether what ``enqueue`` is told of a packet's headers matters.
        self.reads_headers = impairments.ecn or bool(impairments.aqm)
        self._rate = impairments.rate
        if impairments.trace != self._trace:
            self._trace, self._trace_start = impairments.trace, None
        # Whether anything is not left to chance: looked at once for each packet.
        self._prescribed = bool(self._fates) or self._trace != NO_TRACE
        self._replace_bottleneck(impairments)
        self._next_step = 0

    def counters(self) -> LinkCounters:
        """Return what it has done so far."""
        entered = self._sent + self._duplicated
        overflowed = self._overflowed + self._tally.dropped
        return LinkCounters(
            sent=self._sent,
            delivered=entered - self._lost - overflowed,
            lost=self._lost,
            overflowed=overflowed,
            duplicated=self._duplicated,
            corrupted=self._corrupted,
            reordered=self._reordered,
            marked=self._marked + self._tally.marked,
        )

    def _start_trace(self, now: Instant) -> None:
        self._trace_start, self._next_step = now, 0
        self._delay = self.impairments.delay
        if self._server is not None and self._trace.sets_rate:
            self._server.pace = self._pace()

    def _follow_trace(self, now: Instant) -> None:
        """Let rate and delay be what the trace says for ``now``; what happened before, happened before."""
        if self._trace_start is None:
            self._start_trace(now)
        steps, start = self._trace.steps, self._trace_start
        assert start is not None
        while self._next_step < len(steps) and start + steps[self._next_step].at <= now:
            step = steps[self._next_step]
            self._next_step += 1
            if step.delay is not None:
                self._delay = step.delay
            if step.rate is not None and self._server is not None:
                # Who begins to be served before the step goes at the old rate.
                self._server.advance(start + step.at - 1, self._keep)
                self._server.pace = Rate(step.rate)

    def _pace(self) -> Pace:
        if self._trace.opportunities:
            return Opportunities(self._trace.opportunities, start=self._trace_start or 0)
        return Rate(self._rate)

    def _keep(self, queued: Queued, at: Instant) -> None:
        self._ready.append(self._served(queued, at))

    def _as_given(self, given: Sequence[GivenCopy], now: Instant, item: object) -> Sequence[Delivery]:
        self._lost += not given
        self._duplicated += max(0, len(given) - 1)
        self._corrupted += sum(copy.corrupt_bit is not None for copy in given)
        self._marked += sum(copy.marked for copy in given)
        made = []
        for copy in given:
            at = now + copy.delay
            if copy.overtakes:
                self._reordered += 1
            else:
                # Sent closer together than they once were, packets still keep their order and their rate.
                at = self._line_out = max(at, self._line_out + copy.spacing)
            made.append(Delivery(at, copy.corrupt_bit, copy.marked, item))
        return made

    def _pass(
        self, size: int, now: Instant, item: object, ecn_capable: bool, flow: object
    ) -> Delivery | None:
        corrupt_bit: int | None = None
        out = now + self._delay
        reordered = marked = False
        if self._steps:
            fate, rng = PacketFate(size, self._delay), self._rng
            if ecn_capable:
                fate.ecn_capable = True
            for step in self._steps:
                step(fate, rng)
                if fate.dropped:
                    self._lost += 1
                    return None
            out = now + fate.delay_ns
            reordered, marked = fate.reordered, fate.marked
            if fate.corrupt_bits:
                corrupt_bit = fate.corrupt_bits[0]
        if reordered:
            self._reordered += 1
        elif out < self._line_out:
            out = self._line_out
        else:
            self._line_out = out
        if marked:
            self._marked += 1
        if self._slots is not None:
            out = self._slots.leave(size, out)
        if self._rate:
            if self._server is not None:
                self._server.offer(Queued(size, item, ecn_capable, flow, corrupt_bit, marked), out)
                return None
            served = self._bottleneck.serve(size, out, now)
            if served is None:
                self._overflowed += 1
                return None
            out = served
        if corrupt_bit is not None:
            self._corrupted += 1
        return Delivery(out, corrupt_bit, marked, item)

    def _served(self, queued: Queued, at: Instant) -> Delivery:
        if queued.corrupt_bit is not None:
            self._corrupted += 1
        return Delivery(at, queued.corrupt_bit, queued.marked, queued.item)

    def _replace_bottleneck(self, impairments: Impairments) -> None:
        queue = discipline(impairments, self._tally, self._rng) if self._rate else None
        server = self._server
        if queue is not None:
            if server is None:
                self._server = Server(self._pace(), queue, free=self._bottleneck.free)
            else:
                server.configure(self._pace(), queue)
            return
        if server is not None:
            # What waits in it keeps its place before all that comes now.
            server.finish(self._keep)
            self._bottleneck.free = max(self._bottleneck.free, server.free)
            self._server = None
        if self._rate:
            self._bottleneck.configure(self._rate, impairments.queue, ordered=not impairments.reorder)
        else:
            # Without a bottleneck, what is still in the old one must not be overtaken.
            self._line_out = max(self._line_out, self._bottleneck.free)
