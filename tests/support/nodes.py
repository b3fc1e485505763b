"""Two whole nodes and a network between them, on virtual time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping
from typing import Any

from node.control.messages import Command, NodeEvent, Reply
from node.core import NodeCore
from node.protocol.datagrams import Burst, SocketAddress
from node.protocol.identity import Identity, Peer
from node.protocol.time import SECOND, Duration, Instant
from node.settings import NodeSettings
from node.workloads.base import Data, SinkFactory, SourceFactory
from node.workloads.sources import generated_source
from tests.support.pair import Fate, perfect


class KeptSink:
    """Keeps what it is given; can be told to be full after some bytes."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.finished = False
        self.aborted = False

    def write(self, data: Data) -> None:
        """Keep ``data``."""
        self.data += data

    def finish(self) -> None:
        """Note the end."""
        self.finished = True

    def abort(self) -> None:
        """Note the failure."""
        self.aborted = True


class NodePair:
    """Nodes ``left`` and ``right``, each other's peers; sinks of the flows in ``sinks``."""

    def __init__(
        self,
        fate: Fate | None = None,
        *,
        seed: int = 1,
        transport: Mapping[str, object] | None = None,
        source_of: SourceFactory = generated_source,
        sink_of: SinkFactory | None = None,
    ) -> None:
        self.now: Instant = 0
        self.fate = fate or perfect()
        self.rng = random.Random(f"{seed}/network")
        self.sinks: dict[str, KeptSink] = {}
        self.events: list[NodeEvent] = []
        self.datagrams = 0
        keys = {name: random.Random(f"{seed}/{name}").randbytes(32) for name in ("left", "right")}
        peers = {name: Peer(Identity(key).public_key, (name, 1)) for name, key in keys.items()}
        self.nodes = {
            name: NodeCore(
                NodeSettings(name, key, (name, 1), peers, transport or {}),
                rng=random.Random(f"{seed}/{name}/rng"),
                source_of=source_of,
                sink_of=sink_of or self._sink_of,
            )
            for name, key in keys.items()
        }
        #: The UDP port that each node is at; what is on its way to another is lost.
        self.ports = {"left": 1, "right": 1}
        self._queue: list[tuple[Instant, int, SocketAddress, SocketAddress, bytearray]] = []
        self._sequence = 0

    def _sink_of(self, options: Mapping[str, object]) -> KeptSink:
        return self.sinks.setdefault(str(options["flow"]), KeptSink())

    def command(self, node: str, name: str, **arguments: object) -> Reply:
        """Give a command and let the node do what follows from it."""
        reply = self.nodes[node].handle_command(Command(name, arguments), now=self.now)
        self._drain(node)
        return reply

    def flow(self, name: str, workload: str, **options: object) -> None:
        """Start a flow from left to right."""
        common = {"flow": name, "workload": workload, "options": options}
        for node, role, peer in (("right", "target", "left"), ("left", "source", "right")):
            reply = self.command(node, "start_flow", role=role, peer=peer, **common)
            assert reply.ok, reply.error

    def finished(self, node: str, flow: str) -> Mapping[str, object] | None:
        """Return how a flow ended at a node, or None."""
        for event in self.events:
            if (event.node, event.kind, event.data.get("flow")) == (node, "flow_finished", flow):
                return event.data
        return None

    def run_until_finished(
        self, flow: str, *, limit: Duration = 600 * SECOND
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Go on until both nodes are done with a flow; return the ends of source and target."""
        while (source := self.finished("left", flow)) is None or self.finished("right", flow) is None:
            assert self.now <= limit, f"{flow} not done after {self.now / SECOND:.1f} virtual seconds"
            assert self.step(), f"idle, and {flow} not done"
        target = self.finished("right", flow)
        assert target is not None
        return source, target

    def step(self) -> bool:
        """Go on to the next thing that happens; False: nothing ever will."""
        times = [due for node in self.nodes.values() if (due := node.next_timeout()) is not None]
        if self._queue:
            times.append(self._queue[0][0])
        if not times:
            return False
        self.now = max(self.now, min(times))
        while self._queue and self._queue[0][0] <= self.now:
            _, _, source, (target, port), datagram = heapq.heappop(self._queue)
            if self.ports.get(target) == port:
                self.inject(target, datagram, source)
        for name, node in self.nodes.items():
            due = node.next_timeout()
            if due is not None and due <= self.now:
                node.handle_timeout(now=self.now)
                self._drain(name)
        return True

    def inject(self, node: str, datagram: bytes | bytearray, source: SocketAddress) -> None:
        """Hand a datagram to a node now."""
        burst = Burst(source, memoryview(bytearray(datagram)), len(datagram))
        self.nodes[node].receive(burst, now=self.now)
        self._drain(node)

    def _drain(self, name: str) -> None:
        node = self.nodes[name]
        while (transmit := node.transmit(now=self.now)) is not None:
            for start in range(0, len(transmit.buffer), transmit.segment_size):
                datagram = bytearray(transmit.buffer[start : start + transmit.segment_size])
                self.datagrams += 1
                for delay in self.fate(datagram, self.rng):
                    self._sequence += 1
                    entry = (
                        self.now + delay,
                        self._sequence,
                        (name, self.ports[name]),
                        transmit.destination,
                        bytearray(datagram),
                    )
                    heapq.heappush(self._queue, entry)
        while (event := node.next_event()) is not None:
            self.events.append(event)
