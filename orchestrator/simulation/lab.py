"""A whole lab of a plan on virtual time: network, hosts, and what the hosts report."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from types import MappingProxyType
from typing import Protocol

from node.control.messages import Command, NodeEvent, Reply
from node.core import NodeCore
from node.links.fates import Fates
from node.protocol.errors import LocalProtocolError
from node.protocol.identity import Peer
from node.protocol.trace import TracerOf
from node.registry import UnknownNameError
from node.settings import NodeSettings
from node.transports.base import STRAIT, TRANSPORTS
from node.transports.quic import PORT_OFFSET
from node.workloads.base import ByteSink, ByteSource
from orchestrator.simulation.host import Host
from orchestrator.simulation.network import Network
from orchestrator.simulation.scheduler import Scheduler
from orchestrator.topology.model import LinkEndpoint, NodeKind
from orchestrator.topology.plan import DeploymentPlan, NodePlan

#: Events that wait to be read; a run of many hours makes fewer, so only a reader that is gone fills this.
MAX_EVENTS = 1_000_000


class Files(Protocol):
    """Makes a node's byte sources and sinks of flows' options."""

    def source_of(self, options: Mapping[str, object]) -> ByteSource:
        """Return the bytes that a flow sends (WorkloadError if there are none)."""
        ...

    def sink_of(self, options: Mapping[str, object]) -> ByteSink:
        """Return where a flow's received bytes go (WorkloadError if they cannot)."""
        ...


class SimulatedLab:
    """Nodes and links of a plan, at virtual time zero.

    Args:
        files_of: returns what makes the byte sources and sinks of a node.
        key_log_of: returns what takes the key log lines of a node.
        tracers_of: returns what gives a node's connections their tracers, where the plan wants traces; what
            it is given takes a warning.
    """

    def __init__(
        self,
        plan: DeploymentPlan,
        *,
        files_of: Callable[[str], Files],
        key_log_of: Callable[[str], Callable[[str], None] | None] = lambda name: None,
        tracers_of: Callable[[NodePlan, Callable[[str], None]], TracerOf | None] = lambda node, warn: None,
        fates: Mapping[LinkEndpoint, Fates] = MappingProxyType({}),
    ) -> None:
        self.plan = plan
        self.scheduler = Scheduler()
        self.network = Network(plan, self.scheduler, fates=fates)
        #: What the nodes reported and nobody has read, in order.
        self.events: deque[NodeEvent] = deque(maxlen=MAX_EVENTS)
        self._files_of = files_of
        self._key_log_of = key_log_of
        self._tracers_of = tracers_of
        self._starts: dict[str, int] = {}
        # Flows that a node was told to run and has not finished: (node, flow). A dict, to keep order.
        self._unfinished: dict[tuple[str, str], None] = {}
        # The transport of each flow that a node was told to run.
        self._transport_of: dict[tuple[str, str], str] = {}
        self._peers: Mapping[str, Peer] = {
            node.name: Peer(node.public_key, (node.host, node.port))
            for node in plan.nodes
            if node.kind is NodeKind.HOST
        }
        #: Running hosts by name.
        self.hosts: dict[str, Host] = {}
        for node in plan.nodes:
            if node.kind is NodeKind.HOST:
                self.start(node.name)

    def start(self, name: str) -> None:
        """Start the host called ``name``: a new process, which remembers nothing."""
        node = self.plan.node(name)
        assert name not in self.hosts
        count = self._starts[name] = self._starts.get(name, 0) + 1
        settings = self._settings_of(name)
        files = self._files_of(name)
        core = NodeCore(
            settings,
            # A host that starts again must not draw its old connection IDs.
            rng=Random(f"{self.plan.seed}/node/{name}" + (f"/{count}" if count > 1 else "")),
            source_of=files.source_of,
            sink_of=files.sink_of,
            key_log=self._key_log_of(name),
            # Each start is above all epochs that the one before can have begun (SPEC 14-3).
            epoch=count << 32,
            tracer_of=self._tracers_of(node, partial(self._warn, name)) if self.plan.qlog else None,
        )
        station = self.network.stations[name]
        self.hosts[name] = Host(core, station, self.scheduler, on_event=self._on_event)

    def _carried(self, name: str, protocol: str) -> Host:
        """Return the host of another transport at a node (LocalProtocolError: it cannot run here)."""
        host = self.hosts[name]
        if protocol not in host.others:
            transport, node = TRANSPORTS[protocol], self.plan.node(name)
            if not transport.virtual_time:
                raise LocalProtocolError(f"{protocol} cannot be simulated; take another back end")
            settings, files = self._settings_of(name), self._files_of(name)
            rng = Random(f"{self.plan.seed}/node/{name}/{protocol}/{self._starts[name]}")
            core = NodeCore(
                settings,
                rng=rng,
                source_of=files.source_of,
                sink_of=files.sink_of,
                carrier=transport.carrier(settings, rng, None),
            )
            station, port = self.network.stations[name], node.port + PORT_OFFSET
            host.others[protocol] = Host(core, station, self.scheduler, on_event=self._on_event, port=port)
        return host.others[protocol]

    def _settings_of(self, name: str) -> NodeSettings:
        node = self.plan.node(name)
        return NodeSettings(
            name=name,
            private_key=node.private_key,
            listen=(node.host, node.port),
            peers={peer.name: self._peers[peer.name] for peer in self.plan.peers_of(name)},
            transport=node.transport,
        )

    def stop(self, name: str) -> None:
        """End the host called ``name`` as if it was killed; its flows end with it."""
        self.hosts.pop(name).stop()
        self._unfinished = {flow: None for flow in self._unfinished if flow[0] != name}

    def command(self, name: str, command: Command) -> Reply:
        """Hand a command to the host called ``name``."""
        host = self.hosts.get(name)
        if host is None:
            return Reply(False, error=f"node {name} runs no agent: it is a router or stopped")
        if host.paused:
            return Reply(False, error=f"node {name} is paused: set it running first")
        flow = (name, str(command.arguments.get("flow")))
        if command.name == "start_flow" and flow not in self._unfinished:
            self._unfinished[flow] = None
            try:
                host = self._host_of(name, command)
            except (LocalProtocolError, UnknownNameError) as error:
                reply = Reply(False, error=str(error))
            else:
                reply = host.command(command)
            if not reply.ok:
                self._unfinished.pop(flow, None)
            return reply
        return host.others.get(self._transport_of.get(flow, ""), host).command(command)

    def _host_of(self, name: str, command: Command) -> Host:
        """Return the host that is to start a flow: the node's own, or that of another transport."""
        transport = command.arguments.get("transport")
        protocol = str(transport.get("protocol", STRAIT)) if isinstance(transport, Mapping) else STRAIT
        self._transport_of[name, str(command.arguments.get("flow"))] = protocol
        return self.hosts[name] if protocol == STRAIT else self._carried(name, protocol)

    def is_host(self, name: str) -> bool:
        """Return whether the node called ``name`` runs an agent when it is up."""
        return name in self._peers

    def unfinished(self) -> list[str]:
        """Return the names of flows that were started and have not ended, each once."""
        return list(dict.fromkeys(flow for _, flow in self._unfinished))

    def _warn(self, name: str, message: str) -> None:
        self._on_event(NodeEvent(name, "warning", self.scheduler.now, {"message": message}))

    def _on_event(self, event: NodeEvent) -> None:
        if event.kind == "flow_finished":
            self._unfinished.pop((event.node, str(event.data.get("flow"))), None)
        self.events.append(event)
