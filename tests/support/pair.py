"""Two endpoints and a network between them, on virtual time: what most protocol tests need."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from node.protocol import trace
from node.protocol.arena import Arena
from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.datagrams import MAX_BURST_BYTES, Burst, SocketAddress, Transmit
from node.protocol.endpoint import Endpoint
from node.protocol.events import ConnectionClosed, ConnectionEstablished, Event, StreamDataReceived
from node.protocol.identity import Identity, Peer
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant

LEFT: SocketAddress = ("left", 1)
RIGHT: SocketAddress = ("right", 2)

#: What no test may have that did not announce it.
TROUBLES = (trace.PacketLost, trace.PacketDropped, trace.ConnectionClosed)

E = TypeVar("E", bound=trace.TraceEvent)


@dataclass(frozen=True, slots=True)
class Traced:
    """One trace event of one end."""

    now: Instant
    left: bool
    event: trace.TraceEvent


#: Says what becomes of one datagram: delays at which copies arrive; empty: lost.
Fate = Callable[[bytearray, Random], list[Duration]]
#: Says what a path makes of an ECN codepoint; None: it drops the packet.
Marker = Callable[[int], int | None]


@dataclass(order=True, slots=True)
class Carried:
    """One datagram on its way."""

    at: Instant
    sequence: int
    from_left: bool = field(compare=False)
    data: bytearray = field(compare=False)
    source: SocketAddress = field(compare=False)
    destination: SocketAddress = field(compare=False)
    ecn: int = field(compare=False)


def perfect(delay: Duration = 5 * MILLISECOND) -> Fate:
    """Every datagram arrives once, after ``delay``."""
    return lambda datagram, rng: [delay]


def hostile(
    *, delay: Duration = 5 * MILLISECOND, loss: float = 0.0, duplicate: float = 0.0,
    reorder: float = 0.0, corrupt: float = 0.0,
) -> Fate:  # fmt: skip
    """Datagrams are lost, doubled, overtaken and damaged with the given probabilities."""

    def fate(datagram: bytearray, rng: Random) -> list[Duration]:
        if rng.random() < loss:
            return []
        if rng.random() < corrupt:
            bit = rng.randrange(len(datagram) * 8)
            datagram[bit >> 3] ^= 1 << (bit & 7)
        first = delay + (rng.randrange(4 * MILLISECOND) if rng.random() < reorder else 0)
        return [first, first + MILLISECOND] if rng.random() < duplicate else [first]

    return fate


class Pair:
    """A left (connecting) and a right (accepting) endpoint.

    Events land in ``left_events`` and ``right_events``; stream data in ``left_data`` and
    ``right_data`` by stream id, read as it comes unless ``read`` is off. With ``coalesce`` what
    arrives together is handed over as bursts, as UDP GRO does. With ``traced`` all trace events are
    kept, for ``expect_no`` and ``expect_quiet``; ``tracers`` are of left and right where it is off.

    The ends are seen at ``left_address`` and ``right_address``, which a test may change: what goes to an
    address that is not an end's any more is lost. ``mark_to_right`` and ``mark_to_left``: ECN on the way.
    """

    #: What both ends are made of (tests/support/watched.py has another).
    endpoint: type[Endpoint] = Endpoint

    def __init__(
        self, *, left: Configuration | None = None, right: Configuration | None = None,
        to_right: Fate | None = None, to_left: Fate | None = None, seed: int = 1, read: bool = True,
        coalesce: bool = False, traced: bool = False,
        tracers: Sequence[trace.TracerOf | None] = (None, None),
    ) -> None:  # fmt: skip
        self.rng = Random(f"{seed}/network")
        self.now: Instant = 0
        self.read = read
        self.coalesce = coalesce
        identities = [Identity(Random(f"{seed}/{side}").randbytes(32)) for side in ("left", "right")]
        configuration = left or Configuration()
        self.key_log: list[str] = []
        self.left = self.endpoint(
            identities[0], configuration, rng=Random(f"{seed}/l"), key_log=self.key_log.append,
            tracer_of=self._tracer_of(is_left=True) if traced else tracers[0],
        )  # fmt: skip
        self.right = self.endpoint(
            identities[1], right or Configuration(), rng=Random(f"{seed}/r"),
            tracer_of=self._tracer_of(is_left=False) if traced else tracers[1],
        )  # fmt: skip
        self.peer = Peer(identities[1].public_key, RIGHT)
        self.to_right, self.to_left = to_right or perfect(), to_left or to_right or perfect()
        self.left_address, self.right_address = LEFT, RIGHT
        self.mark_to_right: Marker = lambda codepoint: codepoint
        self.mark_to_left: Marker = lambda codepoint: codepoint
        self.left_events: list[Event] = []
        self.right_events: list[Event] = []
        self.left_data: dict[int, bytearray] = {}
        self.right_data: dict[int, bytearray] = {}
        #: Everything that was sent: (time, from left, datagram).
        self.wire: list[tuple[Instant, bool, bytes]] = []
        #: What both ends told their tracers, in order.
        self.trace: list[Traced] = []
        self._traced = traced
        #: Where each of these was sent to.
        self.destinations: list[SocketAddress] = []
        self._arena = Arena()
        self._launching: Transmit
        #: What is on its way, a heap.
        self.flying: list[Carried] = []
        self._sequence = 0
        self.connection: Connection
        self.accepted: Connection | None = None

    def _tracer_of(self, *, is_left: bool) -> trace.TracerOf:
        """Return what gives each connection of a side its tracer."""

        def take(now: Instant, event: trace.TraceEvent) -> None:
            self.trace.append(Traced(now, is_left, event))

        return lambda connection_id, initiator: take

    def traced(self, kind: type[E], *, left: bool | None = None) -> list[E]:
        """Return the trace events of a kind, of one side or both."""
        assert self._traced, "make the pair with traced=True"
        return [
            found.event for found in self.trace
            if isinstance(found.event, kind) and left in (None, found.left)
        ]  # fmt: skip

    def expect_no(self, *kinds: type[trace.TraceEvent]) -> None:
        """Fail if one of these was traced, and show the first."""
        assert self._traced, "make the pair with traced=True"
        found = next((found for found in self.trace if isinstance(found.event, kinds)), None)
        assert found is None, f"unexpected: {found}"

    def expect_quiet(self, *announced: type[trace.TraceEvent]) -> None:
        """Fail on any loss, drop or close but those of the kinds announced."""
        self.expect_no(*(kind for kind in TROUBLES if kind not in announced))

    def connect(self, configuration: Configuration | None = None) -> Connection:
        """Begin a connection from left to right."""
        self.connection = self.left.connect(self.peer, configuration=configuration, now=self.now)
        self.drain()
        return self.connection

    def established(self, configuration: Configuration | None = None) -> Connection:
        """Return a connection that both sides hold for established."""
        self.connect(configuration)
        self.run_until(lambda: any(isinstance(e, ConnectionEstablished) for e in self.right_events))
        return self.connection

    def inject(
        self, datagram: bytes, *, to_right: bool, source: SocketAddress | None = None, segment: int = 0
    ) -> None:
        """Hand a datagram to one side now, or a burst of ``segment`` bytes each."""
        endpoint = self.right if to_right else self.left
        default = self.left_address if to_right else self.right_address
        endpoint.receive(
            Burst(source or default, memoryview(bytearray(datagram)), segment or max(1, len(datagram))),
            now=self.now,
        )
        self.drain()

    def drain(self) -> None:
        """Send all there is to send, and take all events."""
        for endpoint, from_left in ((self.left, True), (self.right, False)):
            while (transmit := endpoint.transmit(now=self.now)) is not None:
                self._launching = transmit
                for start in range(0, len(transmit.buffer), transmit.segment_size):
                    piece = bytearray(transmit.buffer[start : start + transmit.segment_size])
                    self.wire.append((self.now, from_left, bytes(piece)))
                    self.destinations.append(transmit.destination)
                    self._launch(piece, from_left)
            self._take_events(endpoint, from_left)
        # Reading gives credit, and so something to send.
        if any(e._work for e in (self.left, self.right)):
            self.drain()

    def next_time(self) -> Instant | None:
        """When the next thing happens."""
        times = [t for t in (self.left.next_timeout(), self.right.next_timeout()) if t is not None]
        if self.flying:
            times.append(self.flying[0].at)
        return min(times, default=None)

    def step(self) -> bool:
        """Go on to the next thing that happens; False: nothing ever will."""
        following = self.next_time()
        if following is None:
            return False
        self.now = max(self.now, following)
        while self.flying and self.flying[0].at <= self.now:
            first = heapq.heappop(self.flying)
            if first.destination == (self.right_address if first.from_left else self.left_address):
                self._hand_over(first)
        for endpoint in (self.left, self.right):
            deadline = endpoint.next_timeout()
            if deadline is not None and deadline <= self.now:
                endpoint.handle_timeout(now=self.now)
        self.drain()
        return True

    def _hand_over(self, first: Carried) -> None:
        """Give an end a datagram, and what GRO would merge with it as the UDP driver does: in an arena."""
        endpoint, datagrams = (self.right if first.from_left else self.left), first.data
        size = last = len(datagrams)
        while self.coalesce and self.flying and last == size and len(datagrams) < MAX_BURST_BYTES - size:
            behind = self.flying[0]
            same = (behind.source, behind.destination, behind.ecn) == (
                first.source, first.destination, first.ecn,
            )  # fmt: skip
            if behind.at > self.now or not same or len(behind.data) > size:
                break
            last = len(behind.data)
            datagrams += heapq.heappop(self.flying).data
        if not self.coalesce:
            burst = Burst(first.source, memoryview(datagrams), size, first.ecn)
        else:
            view = self._arena.view[: len(datagrams)]
            view[:] = datagrams
            burst = Burst(first.source, view, size, first.ecn, self._arena)
        endpoint.receive(burst, now=self.now)

    def run_until(self, done: Callable[[], bool], *, limit: Duration = 600 * SECOND) -> None:
        """Go on until ``done``; AssertionError when it never comes to that."""
        while not done():
            assert self.now <= limit, f"not done after {self.now / SECOND:.1f} virtual seconds"
            assert self.step(), "idle, and not done"

    def run_for(self, duration: Duration) -> None:
        """Go on for a time."""
        end = self.now + duration
        while (following := self.next_time()) is not None and following <= end:
            self.step()
        self.now = end

    def closed(self, *, right: bool) -> ConnectionClosed | None:
        """Return the event that ended the connection on one side."""
        events = self.right_events if right else self.left_events
        return next((e for e in events if isinstance(e, ConnectionClosed)), None)

    def _launch(self, datagram: bytearray, from_left: bool) -> None:
        fate = self.to_right if from_left else self.to_left
        mark = self.mark_to_right if from_left else self.mark_to_left
        source = self.left_address if from_left else self.right_address
        ecn, destination = mark(self._launching.ecn), self._launching.destination
        for delay in fate(datagram, self.rng) if ecn is not None else ():
            assert ecn is not None
            self._sequence += 1
            at, data = self.now + delay, bytearray(datagram)
            carried = Carried(at, self._sequence, from_left, data, source, destination, ecn)
            heapq.heappush(self.flying, carried)

    def _take_events(self, endpoint: Endpoint, from_left: bool) -> None:
        events = self.left_events if from_left else self.right_events
        data = self.left_data if from_left else self.right_data
        while (found := endpoint.next_event()) is not None:
            connection, event = found
            events.append(event)
            if not from_left:
                self.accepted = connection
            if isinstance(event, StreamDataReceived) and self.read:
                data.setdefault(event.stream_id, bytearray()).extend(connection.read(event.stream_id))
