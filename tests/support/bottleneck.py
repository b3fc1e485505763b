"""One sender's loss recovery and controller over one bottleneck, on virtual time, without packets' bytes.

Everything that decides what is sent is the real thing: `Recovery` with its pacer and controller, the
receiver's `Acknowledgements`, and the link model. What is left out is cryptography and streams, so that
ten virtual seconds cost a fraction of a real one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random

from node.links.model import LinkModel
from node.links.settings import Impairments
from node.protocol.congestion.base import CONTROLLERS, CongestionController, initial_window
from node.protocol.recovery.acknowledgements import Acknowledgements
from node.protocol.recovery.manager import Recovery
from node.protocol.recovery.sent_packets import SentBurst
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant
from node.protocol.wire.frames import Ack

SIZE = 1200
#: UDP, IPv4 and Ethernet heads: what the link counts beside the payload.
HEADS = 8 + 20 + 14
MAX_BURST = 64


class Clock:
    """Virtual time, and the flows that act on it."""

    def __init__(self) -> None:
        self.now: Instant = 0
        self.flows: list[Bottleneck] = []
        self._events: list[tuple[Instant, int, Callable[[], None]]] = []
        self._sequence = 0

    def at(self, instant: Instant, action: Callable[[], None]) -> None:
        """Do something at an instant."""
        self._sequence += 1
        heapq.heappush(self._events, (instant, self._sequence, action))

    def next(self) -> Instant:
        """Return when the next thing happens."""
        first = [self._events[0][0]] if self._events else []
        return max(self.now, min(first + [flow.next_timeout() for flow in self.flows]))

    def step(self) -> None:
        """Go on to the next thing that happens."""
        self.now = self.next()
        while self._events and self._events[0][0] <= self.now:
            heapq.heappop(self._events)[2]()
        for flow in self.flows:
            flow.handle_timeout()


class Bottleneck:
    """A sender with endless data, unless told otherwise; a link; a receiver that acknowledges.

    Args:
        beside: shares this flow's link and clock, whose rate and queue it has then.
        rate_bps: of the bottleneck, in bits of payload a second (the heads are added here).
        rtt: without queue.
        queue: packets that the bottleneck holds.
        ack_every: acknowledge so many packets at once ...
        ack_clock: ... or let acknowledgements out only at multiples of this, as a radio link does.
    """

    def __init__(
        self, controller: str, *, rate_bps: int, rtt: Duration, queue: int = 1000, ack_every: int = 2,
        ack_clock: Duration = 0, seed: int = 1, beside: Bottleneck | None = None,
    ) -> None:  # fmt: skip
        self.clock: Clock = Clock() if beside is None else beside.clock
        self.rtt, self.queue, self.ack_clock = rtt, queue, ack_clock
        self.controller: CongestionController = CONTROLLERS[controller](SIZE, rng=Random(seed))
        self.recovery = Recovery(
            self.controller,
            initial_window=initial_window(SIZE),
            rng=Random(f"{seed}/recovery"),
            on_acked=lambda newly: None,
            on_lost=lambda record, mask: None,
        )
        self.link: LinkModel = (
            LinkModel(Impairments(), Random(f"{seed}/link")) if beside is None else beside.link
        )
        if beside is None:
            self.set_rate(rate_bps)
        self.receiver = Acknowledgements(max_ack_delay=25 * MILLISECOND, at_once=False)
        self.receiver.set_frequency(0, packets=ack_every, delay=5 * MILLISECOND)
        #: Bits a second that the application writes; None: as much as may be sent.
        self.application_bps: int | None = None
        #: Decides about a packet by its number: True drops it.
        self.drop: Callable[[int], bool] = lambda number: False
        #: More delay for a packet, by its number.
        self.hold: Callable[[int], Duration] = lambda number: 0
        #: Looked at after each acknowledgement: a test's own record of what happened.
        self.watch: Callable[[], None] = lambda: None
        self.delivered = self.dropped = self.sent = 0
        self._written: Instant = 0
        self._wake_at: Instant | None = None
        self._budget = 0
        self.clock.flows.append(self)
        self.recovery.take_handshake_sample(rtt, now=self.now)
        self._send()

    @property
    def now(self) -> Instant:
        """Virtual time."""
        return self.clock.now

    # -- what a test does

    def set_rate(self, rate_bps: int, **more: object) -> None:
        """Let the bottleneck have this rate from now on."""
        frame_rate = rate_bps * (SIZE + HEADS) // SIZE
        settings = {"delay": f"{self.rtt // 2}ns", "rate": f"{frame_rate}bit", "queue": f"{self.queue}p"}
        self.link.replace(Impairments.parse({**settings, **more}))

    def run_for(self, duration: Duration) -> None:
        """Go on for a time."""
        end = self.now + duration
        while self.clock.next() <= end:
            self.clock.step()
        self.clock.now = end

    def run_until(self, done: Callable[[], bool], *, limit: Duration = 60 * SECOND) -> None:
        """Go on until ``done``; AssertionError when that takes longer than ``limit``."""
        end = self.now + limit
        while not done():
            assert self.clock.next() <= end, f"not so after {limit / SECOND:.1f} virtual seconds"
            self.clock.step()

    def wake(self) -> None:
        """Send what may be sent now: after a change of what there is to send."""
        self._send()

    # -- how it goes

    def next_timeout(self) -> Instant:
        """Return when ``handle_timeout`` is to be called."""
        times = (self._wake_at, self.recovery.next_timeout(), self.receiver.deadline)
        return min([time for time in times if time is not None], default=1 << 62)

    def handle_timeout(self) -> None:
        """Do what is due."""
        deadline = self.recovery.next_timeout()
        if deadline is not None and deadline <= self.now:
            self.recovery.on_timeout(now=self.now)
            self._send()
        if self._wake_at is not None and self._wake_at <= self.now:
            self._send()
        if self.receiver.deadline is not None and self.receiver.deadline <= self.now:
            self._acknowledge()

    def _send(self) -> None:
        recovery = self.recovery
        self._wake_at = None
        while True:
            wanted = self._wanted()
            probes = recovery.probes_due * SIZE
            if not probes and wanted < SIZE:
                recovery.on_app_limited()
                if self.application_bps:
                    self._wake_at = self.now + (SIZE - wanted) * 8 * SECOND // self.application_bps + 1
                return
            if not probes and recovery.window_left < SIZE:
                recovery.window_used = True
                return
            wanted = min(wanted, recovery.window_left)
            paced = recovery.pacer.allowance(packet_size=SIZE, wanted=wanted, now=self.now)
            if not probes and not paced:
                recovery.window_used = 2 * recovery.bytes_in_flight >= self.controller.congestion_window
                self._wake_at = recovery.pacer.next_time(packet_size=SIZE, wanted=wanted, now=self.now)
                return
            self._launch(1 if probes else min(wanted, paced, MAX_BURST * SIZE) // SIZE)

    def _wanted(self) -> int:
        if self.application_bps is None:
            return 1 << 40
        self._budget += (self.now - self._written) * self.application_bps
        self._written = self.now
        self._budget = min(self._budget, 16 * SIZE * 8 * SECOND)
        return self._budget // (8 * SECOND)

    def _launch(self, count: int) -> None:
        recovery = self.recovery
        first = recovery.next_packet_number
        recovery.on_sent(SentBurst(first, count, self.now, size=SIZE, last_size=SIZE))
        self.sent += count
        if self.application_bps is not None:
            self._budget -= count * SIZE * 8 * SECOND
        for number in range(first, first + count):
            if self.drop(number):
                self.dropped += 1
                continue
            deliveries = self.link.enqueue(SIZE + HEADS, self.now)
            if not deliveries:
                self.dropped += 1
            for delivery in deliveries:
                self.clock.at(delivery.at + self.hold(number), lambda number=number: self._arrive(number))  # type: ignore[misc]

    def _arrive(self, number: int) -> None:
        if not self.receiver.is_duplicate(number):
            self.delivered += SIZE
            self.receiver.on_received(number, number + 1, 1, now=self.now)

    def _acknowledge(self) -> None:
        frame = self.receiver.frame(now=self.now)
        assert frame is not None
        at = self.now + self.rtt // 2
        if self.ack_clock:
            at = -(-at // self.ack_clock) * self.ack_clock
        self.clock.at(at, lambda: self._acknowledged(frame))

    def _acknowledged(self, frame: Ack) -> None:
        self.recovery.on_ack(frame, now=self.now)
        self.watch()
        self._send()
