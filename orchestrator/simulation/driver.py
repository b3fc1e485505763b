"""Lets an object without I/O live on virtual time: what a socket and an event loop are to a real one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from node.protocol.datagrams import MAX_BURST_BYTES, MAX_SEGMENTS, Burst, SocketAddress, Transmit
from node.protocol.time import Instant
from orchestrator.simulation.packet import Packet
from orchestrator.simulation.scheduler import Scheduler


class Driven(Protocol):
    """A node or an endpoint: takes bursts and the time, then says what to send and when to call again."""

    def receive(self, burst: Burst, *, now: Instant) -> object:
        """Take datagrams that arrived."""
        ...

    def handle_timeout(self, *, now: Instant) -> object:
        """Do what is due."""
        ...

    def next_timeout(self) -> Instant | None:
        """Return when ``handle_timeout`` is to be called."""
        ...

    def transmit(self, *, now: Instant) -> Transmit | None:
        """Return the next datagrams to send."""
        ...


class Driver:
    """Calls an object when packets arrive and when it is due, each time followed by a full drain.

    Packets that arrive at one instant are handed over together, and as one burst where they are equal in
    size and source, as a socket with UDP GRO would find them. No CPU time passes.

    Args:
        source: address that packets are sent from.
        send: takes packets to be sent.
        take_events: handles all that the object reports; returns whether that gave it something to do.
    """

    def __init__(
        self,
        driven: Driven,
        scheduler: Scheduler,
        *,
        source: SocketAddress,
        send: Callable[[Packet], object],
        take_events: Callable[[], bool],
    ) -> None:
        self.source = source
        self.paused = False
        self.stopped = False
        self._driven = driven
        self._scheduler = scheduler
        self._send = send
        self._take_events = take_events
        self._inbox: deque[Packet] = deque()
        self._reading = False
        # The earliest wake-up that the scheduler holds for us; later ones find nothing to do.
        self._wake_at: Instant | None = None

    @property
    def waiting(self) -> int:
        """How many packets have arrived and were not handed over."""
        return len(self._inbox)

    def take(self, packet: Packet) -> None:
        """Take a packet that arrived."""
        self._inbox.append(packet)
        self._read_soon()

    def resume(self) -> None:
        """End a pause: go on with what has waited."""
        self.paused = False
        self._read_soon()
        self._wake_soon(self._scheduler.now)

    def stop(self) -> None:
        """Call the object no more."""
        self.stopped = True
        self._inbox.clear()

    def drain(self) -> None:
        """Send what is to be sent and hand on what is reported, after the object was called."""
        now, driven, going = self._scheduler.now, self._driven, True
        while going:
            while (transmit := driven.transmit(now=now)) is not None:
                buffer, size = transmit.buffer, transmit.segment_size
                for start in range(0, len(buffer), size):
                    payload = bytes(buffer[start : start + size])
                    self._send(Packet(self.source, transmit.destination, payload, ecn=transmit.ecn))
            going = self._take_events()
        deadline = driven.next_timeout()
        if deadline is not None:
            self._wake_soon(deadline)

    def _read_soon(self) -> None:
        # After everything else that arrives now, so that it is read together.
        if self._inbox and not self._reading and not self.paused:
            self._reading = True
            self._scheduler.at(self._scheduler.now, self._read)

    def _read(self, _: object) -> None:
        self._reading = False
        if self.paused:
            return
        inbox, now = self._inbox, self._scheduler.now
        while inbox and not self.stopped:
            self._driven.receive(next_burst(inbox), now=now)
            self.drain()

    def _wake(self, at: Instant) -> None:
        if self._wake_at == at:
            self._wake_at = None
        if self.stopped or self.paused:
            return
        deadline = self._driven.next_timeout()
        if deadline is None:
            return
        if deadline <= self._scheduler.now:
            self._driven.handle_timeout(now=self._scheduler.now)
            self.drain()
        else:
            self._wake_soon(deadline)

    def _wake_soon(self, deadline: Instant) -> None:
        at = max(deadline, self._scheduler.now)
        if self._wake_at is None or at < self._wake_at:
            self._wake_at = at
            self._scheduler.at(at, self._wake, at)


def next_burst(inbox: deque[Packet]) -> Burst:
    """Take the next packets that make one burst off ``inbox``."""
    first = inbox.popleft()
    segment_size = len(first.payload)
    payloads = [first.payload]
    size = segment_size
    # Only the last datagram of a burst may be shorter.
    while inbox and len(payloads) < MAX_SEGMENTS and len(payloads[-1]) == segment_size > 0:
        following = inbox[0]
        length = len(following.payload)
        if following.source != first.source or following.ecn != first.ecn:
            break
        if not 0 < length <= segment_size or size + length > MAX_BURST_BYTES:
            break
        payloads.append(inbox.popleft().payload)
        size += length
    return Burst(first.source, memoryview(bytearray().join(payloads)), max(1, segment_size), first.ecn)
