"""One bottleneck and the flows over it, on virtual time: how long a transfer takes, how a path is shared.

Each flow has two endpoints of its own, one on each side; they share the two directions of one link, which
is the simulator's (`orchestrator.simulation.link`). No CPU time passes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from node.links.impairments.delay import Delay
from node.links.impairments.jitter import Jitter
from node.links.impairments.queue import Queue
from node.links.impairments.rate import Rate
from node.links.model import Delivery, LinkModel
from node.links.settings import Impairments
from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.datagrams import SocketAddress
from node.protocol.endpoint import Endpoint
from node.protocol.events import ConnectionClosed, ConnectionEstablished, Event, StreamDataReceived
from node.protocol.identity import Identity, Peer
from node.protocol.time import SECOND, Duration, Instant
from orchestrator.simulation.driver import Driver
from orchestrator.simulation.link import LinkDirection
from orchestrator.simulation.packet import OVERHEAD, Packet
from orchestrator.simulation.scheduler import Scheduler

#: A full packet on the link.
FULL_PACKET = Configuration().max_datagram_size + OVERHEAD
#: A queue is never shorter than this, however small the path's bandwidth-delay product.
MIN_QUEUE_PACKETS = 20
#: What flows carry, again and again: kept by reference, so that size costs no memory.
_CHUNK = Random("scenario").randbytes(1 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A bottleneck: both directions alike but for their rate, and unless it says otherwise."""

    #: From the senders to the receivers, bit/s.
    rate: int
    #: One way.
    delay: Duration
    #: From the receivers to the senders, bit/s; None: as forward.
    back_rate: int | None = None
    #: Half the width of the delay's uniform distribution; packets keep their order.
    jitter: Duration = 0
    #: Packets that the queue forward holds; None: one bandwidth-delay product.
    queue: int | None = None
    #: Shares of packets lost, forward and back; losses come in runs of one to ``loss_run`` packets.
    loss: float = 0.0
    back_loss: float = 0.0
    loss_run: int = 1

    def product(self) -> int:
        """Return the bandwidth-delay product forward, bytes."""
        return self.rate * 2 * self.delay // (8 * SECOND)

    def impairments(self, *, back: bool) -> Impairments:
        """Return what one direction does to packets, losses aside."""
        rate = self.back_rate or self.rate if back else self.rate
        queue = (
            replace(self, rate=rate).product() // FULL_PACKET if back or self.queue is None else self.queue
        )
        return Impairments.build(
            Delay(self.delay), Jitter(self.jitter), Rate(rate), Queue(max(queue, MIN_QUEUE_PACKETS))
        )


class Flow:
    """A transfer from one side to the other, and what became of it."""

    def __init__(self, size: int, start: Instant) -> None:
        self.size = size
        self.start = start
        #: When the receiver had all of it; None: it has not.
        self.completed: Instant | None = None
        #: Bytes that the receiver has read.
        self.received = 0
        #: The sender's connection, once the flow has started.
        self.connection: Connection
        #: Why an end closed the connection; None: it did not.
        self.closed: str | None = None
        self.ends: tuple[_Host, _Host]

    @property
    def seconds(self) -> float:
        """How long it took, handshake included."""
        assert self.completed is not None, f"{self.received} of {self.size} bytes, closed: {self.closed}"
        return (self.completed - self.start) / SECOND

    @property
    def goodput(self) -> float:
        """Its bits a second, start to end."""
        return self.size * 8 / self.seconds


class Bottleneck:
    """A path, and flows over it.

    Args:
        path: what both directions do.
        seed: of all chance.
    """

    def __init__(self, path: Path, *, seed: int = 1) -> None:
        self.path = path
        self.scheduler = Scheduler()
        self.flows: list[Flow] = []
        self._seed = seed
        self._hosts: dict[SocketAddress, _Host] = {}
        self.forward = self._direction("forward", path.impairments(back=False), path.loss)
        self.back = self._direction("back", path.impairments(back=True), path.back_loss)

    def flow(
        self, size: int, *, configuration: Configuration, start: Instant = 0, after: Flow | None = None
    ) -> Flow:
        """Add a transfer of ``size`` bytes.

        Args:
            configuration: of both ends; their windows are raised so that they never limit the flow.
            after: a flow whose endpoints it uses.
        """
        flow = Flow(size, start)
        self.flows.append(flow)
        window = max(configuration.connection_window, 4 * self.path.product() + (8 << 20))
        configuration = replace(
            configuration,
            connection_window=window,
            stream_window=window,
            initial_connection_window=window,
            initial_stream_window=window,
        )
        flow.ends = after.ends if after is not None else self._ends(configuration)
        self.scheduler.at(start, lambda _: flow.ends[0].connect(flow, flow.ends[1], configuration))
        return flow

    def run(self, *, limit: Duration = 600 * SECOND) -> None:
        """Go on until all flows are complete; AssertionError: it never comes to that."""
        scheduler = self.scheduler
        while any(flow.completed is None for flow in self.flows):
            closed = [flow.closed for flow in self.flows if flow.closed is not None]
            assert not closed, closed
            assert scheduler.now <= limit, f"not complete after {scheduler.now / SECOND:.1f} virtual seconds"
            assert scheduler.step(), "idle, and not complete"

    def run_for(self, duration: Duration) -> None:
        """Go on for a time."""
        end = self.scheduler.now + duration
        self.scheduler.run(until=end)
        self.scheduler.advance(end)

    def _ends(self, configuration: Configuration) -> tuple[_Host, _Host]:
        number = len(self.flows)
        made = []
        for side, out in ((1, self.forward), (2, self.back)):
            address: SocketAddress = (f"10.{side}.{number >> 8}.{number & 255}", 1)
            identity = Identity(Random(f"{self._seed}/{address}").randbytes(32))
            rng = Random(f"{self._seed}/{address}/rng")
            endpoint = Endpoint(identity, configuration, rng=rng)
            made.append(_Host(endpoint, address, out, self.scheduler))
            self._hosts[address] = made[-1]
        return made[0], made[1]

    def _direction(self, name: str, impairments: Impairments, loss: float) -> LinkDirection:
        direction = LinkDirection(
            name, impairments, seed=self._seed, scheduler=self.scheduler, receive=self._arrive
        )
        if loss:
            rng = Random(f"{self._seed}/loss/{name}")
            direction.model = _LossyRuns(impairments, rng, loss=loss, longest=self.path.loss_run)
        return direction

    def _arrive(self, packet: Packet) -> None:
        self._hosts[packet.destination].driver.take(packet)


class _LossyRuns(LinkModel):
    """A link model before which packets are lost in runs."""

    def __init__(self, impairments: Impairments, rng: Random, *, loss: float, longest: int) -> None:
        super().__init__(impairments, rng)
        mean = (longest + 1) / 2
        self._begins = loss / (mean * (1 - loss) + loss)
        self._longest = longest
        self._left = 0
        self._chance = rng

    def enqueue(
        self, size: int, now: Instant, *, item: object = None, ecn_capable: bool = False, flow: object = 0
    ) -> Sequence[Delivery]:
        if not self._left and self._chance.random() < self._begins:
            self._left = self._chance.randint(1, self._longest)
        if self._left:
            self._left -= 1
            return ()
        return super().enqueue(size, now, item=item, ecn_capable=ecn_capable, flow=flow)


class _Host:
    """An endpoint on virtual time, and the flows that begin or end there."""

    def __init__(
        self, endpoint: Endpoint, address: SocketAddress, out: LinkDirection, scheduler: Scheduler
    ) -> None:
        self.endpoint = endpoint
        self.driver = Driver(
            endpoint, scheduler, source=address, send=out.send, take_events=self._take_events
        )
        self._scheduler = scheduler
        #: Flows that end here, by the connection's other end; and those that begin here, by connection.
        self._awaited: deque[Flow] = deque()
        self._flows: dict[Connection, Flow] = {}

    def connect(self, flow: Flow, target: _Host, configuration: Configuration) -> None:
        """Begin a flow."""
        peer = Peer(target.endpoint.identity.public_key, target.driver.source)
        now = self._scheduler.now
        flow.connection = self.endpoint.connect(peer, configuration=configuration, now=now)
        self._flows[flow.connection] = flow
        target._awaited.append(flow)
        self.driver.drain()

    def _take_events(self) -> bool:
        heard = False
        while (found := self.endpoint.next_event()) is not None:
            heard = True
            self._handle(*found)
        return heard

    def _handle(self, connection: Connection, event: Event) -> None:
        if isinstance(event, ConnectionEstablished):
            if not event.initiator:
                self._flows[connection] = self._awaited.popleft()
                return
            flow, stream_id = self._flows[connection], connection.open_stream(unidirectional=True)
            for start in range(0, flow.size, len(_CHUNK)):
                left = flow.size - start
                connection.write(stream_id, memoryview(_CHUNK)[:left], end=left <= len(_CHUNK))
        elif isinstance(event, StreamDataReceived):
            flow = self._flows[connection]
            flow.received += len(connection.read(event.stream_id))
            if event.ended:
                assert flow.received == flow.size
                flow.completed = self._scheduler.now
        elif isinstance(event, ConnectionClosed):
            self._flows[connection].closed = event.reason
