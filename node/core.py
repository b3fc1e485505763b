"""One whole node without I/O: endpoint, flows and control commands.

The same object runs in the simulator and in the agent's container; only the driver differs.
"""

from __future__ import annotations

import functools
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from node.carrier import Carrier, FlowConnection, FlowEndpoint
from node.control.messages import Command, NodeEvent, Reply
from node.flow_request import read_flow_request
from node.incoming import FLOW_STREAM, Incoming
from node.protocol.datagrams import Burst, Transmit
from node.protocol.endpoint import Endpoint
from node.protocol.errors import LocalProtocolError
from node.protocol.events import (
    ConnectionClosed,
    ConnectionEstablished,
    Event,
)
from node.protocol.identity import Identity
from node.protocol.sealed.service import SealedSettings
from node.protocol.time import Instant
from node.protocol.trace import TracerOf
from node.registry import UnknownNameError
from node.settings import NodeSettings, configuration_of
from node.workloads.base import Resources, SinkFactory, SourceFactory, WorkloadError
from node.workloads.flow import (
    FLOW_FAILED,
    FLOW_REFUSED,
    FLOW_STOPPED,
    DatagramFlows,
    Flow,
    FlowHeader,
    closed_data,
    statistics_data,
)

#: Flows at once: what a test of concurrency needs, with room; memory of a flow is a few KiB.
MAX_FLOWS = 4096
#: Events that wait for the driver: it drains them after each mutation, so only a bug fills this.
MAX_EVENTS = 65_536


class NodeCore:
    """A node: call it when something happened, then do what it says.

    Contract: one mutation (``receive``, ``handle_timeout``, ``handle_command``), then drain ``transmit``
    and ``next_event``, then read ``next_timeout``; ``now`` never goes back.

    Args:
        settings: who the node is.
        rng: where all its randomness comes from.
        source_of: makes the byte source of a flow's options.
        sink_of: makes the byte sink of a flow's options.
        key_log: takes one line for each connection (SPEC 11).
        epoch: above that of every start of this node before (SPEC 14-3): nanoseconds of the wall clock.
        process: names the process; what is sealed in a copy of it is sealed otherwise (SPEC 14-3).
        tracer_of: asked for a tracer of each connection (SPEC 16); None: nothing is traced.
        carrier: the connections of another transport, to run flows over in Strait's place.
    """

    def __init__(
        self,
        settings: NodeSettings,
        *,
        rng: random.Random,
        source_of: SourceFactory,
        sink_of: SinkFactory,
        key_log: Callable[[str], None] | None = None,
        epoch: int = 1,
        process: Callable[[], int] = lambda: 0,
        tracer_of: TracerOf | None = None,
        carrier: Carrier | None = None,
    ) -> None:
        self.settings = settings
        identity = Identity(settings.private_key)
        self.address = identity.address
        self.stopping = False
        peers = {peer.address: peer for peer in settings.peers.values()}
        self._carrier = carrier
        strait = Endpoint(
            identity,
            configuration_of(settings.transport),
            rng=rng,
            key_log=key_log,
            sealed=SealedSettings(peers.get, epoch, process),
            tracer_of=tracer_of,
        )
        self._endpoint: FlowEndpoint = carrier or strait
        self._drops = strait.drops.counts
        self._datagram_flows = DatagramFlows(strait)
        self._resources = Resources(source_of, sink_of)
        self._flows: dict[str, Flow] = {}
        self._flow_of: dict[FlowConnection, Flow] = {}
        self._incoming = Incoming(self._announced)
        self._peer_names = {peer.address: name for name, peer in settings.peers.items()}
        self._events: deque[NodeEvent] = deque(maxlen=MAX_EVENTS)
        #: Of a node with several transports Strait's core alone says that it is ready.
        self._ready = carrier is not None
        self._next_progress: Instant = 0
        self._commands: dict[str, Callable[[Mapping[str, object], Instant], Mapping[str, object]]] = {
            "status": self._status,
            "start_flow": self._start_flow,
            "stop_flow": self._stop_flow,
            "statistics": self._statistics,
            "windows": self._windows,
            "migrate": self._migrate,
            "stop": self._stop,
        }

    # What the world did.

    def receive(self, burst: Burst, *, now: Instant) -> None:
        """Take a received burst of datagrams."""
        self._endpoint.receive(burst, now=now)
        self._after_mutation(now)

    def handle_timeout(self, *, now: Instant) -> None:
        """Do what is due."""
        due = self._endpoint.next_timeout()
        if due is not None and now >= due:
            self._endpoint.handle_timeout(now=now)
        for flow in self._running():
            due = flow.side.next_timeout()
            if due is not None and now >= due:
                self._guarded(flow, functools.partial(flow.side.handle_timeout, now=now), now)
        self._after_mutation(now)

    # What the orchestrator wants.

    def handle_command(self, command: Command, *, now: Instant) -> Reply:
        """Obey a command; a command that cannot be obeyed gets a reply that says why."""
        run = self._commands.get(command.name)
        if run is None:
            return Reply(
                False, error=f"command: found {command.name!r}, use one of {', '.join(self._commands)}"
            )
        try:
            data = run(command.arguments, now)
        except (WorkloadError, UnknownNameError, LocalProtocolError) as error:
            return Reply(False, error=str(error))
        self._after_mutation(now)
        return Reply(True, data=data)

    # What to do now.

    def transmit(self, *, now: Instant) -> Transmit | None:
        """Return the next burst to send; its buffer is valid until the next call."""
        if not self._ready:
            self._ready = True
            self._emit(
                "ready", now, {"address": f"{self.address:016x}", "listen": list(self.settings.listen)}
            )
        while True:
            transmit = self._endpoint.transmit(now=now)
            # Sending may empty a stream's backlog; its flow then has more to write, and so to send.
            if transmit is not None or not self._dispatch(now):
                return transmit

    def next_event(self) -> NodeEvent | None:
        """Return the next thing to tell the orchestrator."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> Instant | None:
        """Return when to call ``handle_timeout``; None: not before something else happens."""
        earliest = self._endpoint.next_timeout()
        for flow in self._running():
            due = flow.side.next_timeout()
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest

    @property
    def connections(self) -> tuple[Any, ...]:
        """The node's connections."""
        return tuple(self._endpoint.connections)

    # Events of the transport.

    def _after_mutation(self, now: Instant) -> None:
        self._dispatch(now)
        for flow in self._running():
            if flow.side.writing:
                self._guarded(flow, functools.partial(flow.side.on_writable, now=now), now)
        if now >= self._next_progress and (running := self._running()):
            for flow in running:
                data = flow.progress(now=now)
                if data is not None:
                    self._emit("flow_progress", now, data)
            self._next_progress = min(flow.next_progress() for flow in running)

    def _running(self) -> list[Flow]:
        """The flows that have begun, with and without a connection."""
        return [*self._flow_of.values(), *self._datagram_flows.running()]

    def _dispatch(self, now: Instant) -> bool:
        """Handle all events of the endpoint; return whether there were any."""
        any_event = False
        while (datagram := self._endpoint.next_datagram()) is not None:
            any_event = True
            found = self._datagram_flows.find(datagram)
            if found is not None:
                flow, data = found
                self._guarded(flow, functools.partial(flow.side.receive_datagram, data, now=now), now)
        while (item := self._endpoint.next_event()) is not None:
            any_event = True
            connection, event = item
            of_connection = self._flow_of.get(connection)
            if of_connection is not None:
                act = functools.partial(self._on_flow_event, of_connection, event, now)
                self._guarded(of_connection, act, now)
            elif not connection.initiator:
                self._on_incoming(connection, event, now)
            if isinstance(event, ConnectionClosed):
                self._emit_closed(connection, event, now)
        return any_event

    def _on_flow_event(self, flow: Flow, event: Event, now: Instant) -> None:
        if isinstance(event, ConnectionEstablished):
            flow.on_established(event, now=now)
            if flow.stream_id is None:  # else it began with early data
                flow.start_source(now=now)
        elif isinstance(event, ConnectionClosed) and flow.provisional:
            self._withdraw(flow, now)
        else:
            flow.handle_event(event, now=now)

    def _on_incoming(self, connection: FlowConnection, event: Event, now: Instant) -> None:
        """Find the flow of a connection that a peer opened, and start it when its header is whole."""
        try:
            found = self._incoming.take(connection, event)
        except WorkloadError as error:
            self._emit("warning", now, {"message": f"refused a flow: {error}"})
            connection.close(FLOW_REFUSED, str(error), now=now)
            return
        if found is None:
            return
        flow, header, first = found.flow, found.header, found.flow.started_at is None
        if flow.provisional:
            self._withdraw(flow, now)
        flow.attach(connection, confirmed=found.confirmed, now=now)
        self._flow_of[connection] = flow
        if first:
            self._emit("flow_started", now, {**header.announcement, "flow": flow.name, "role": flow.role})

        def begin() -> None:
            # What overtook the header comes first: the end of the stream says that all has come.
            flow.start_target(header, FLOW_STREAM, found.reader.early, now=now)
            flow.side.receive(found.rest, ended=found.ended, now=now)
            flow.receive_others(found.reader.others, now=now)

        self._guarded(flow, begin, now)

    def _announced(self, connection: FlowConnection, header: FlowHeader, confirmed: bool) -> Flow:
        """Return the flow that this node was told to expect, if the header and the peer match it."""
        flow = self._flows.get(header.flow)
        if flow is None or not flow.awaits(confirmed=confirmed):
            raise WorkloadError(f"flow {header.flow!r} is not expected here")
        if flow.workload != header.workload:
            raise WorkloadError(f"flow {header.flow!r} is {flow.workload}, not {header.workload!r:.100}")
        proven = self._carrier is None and flow.peer is not None
        if proven and self.settings.peers[str(flow.peer)].address != connection.peer_address:
            raise WorkloadError(f"flow {header.flow!r} is expected from {flow.peer}, not from this node")
        return flow

    def _withdraw(self, flow: Flow, now: Instant) -> None:
        """Take a flow back from a connection whose early data was not the peer's own (SPEC 15-6)."""
        connection = flow.connection
        assert connection is not None
        del self._flow_of[connection]
        connection.close(FLOW_REFUSED, "the flow goes on with a connection that is confirmed", now=now)
        flow.withdraw()

    def _guarded(self, flow: Flow, action: Callable[[], None], now: Instant) -> None:
        """Let a flow act; end it if it failed or is done, and its end came not only in what may be a copy."""
        try:
            action()
        except WorkloadError as error:
            flow.fail(str(error))
        except LocalProtocolError as error:
            # A connection that is over takes no more writes; its ConnectionClosed is on the way and says why.
            if flow.connection is None or not flow.connection.closed:
                flow.fail(str(error))
        outcome = flow.outcome
        if outcome is not None and not (outcome.ok and flow.provisional):
            self._finish(flow, now)

    def _finish(self, flow: Flow, now: Instant, *, code: int = FLOW_FAILED) -> None:
        """Report a flow that is over, and end its connection if it is ours to end.

        A target that did its part leaves the end to the source, which waits for the report.
        """
        before = flow.next_connection(now=now)
        if before is not None:
            self._flow_of.pop(before, None)
            if flow.role == "source":
                before.close(now=now)
            self._guarded(flow, functools.partial(self._connect, flow, now), now)
            return
        outcome = flow.outcome
        assert outcome is not None
        del self._flows[flow.name]
        connection = flow.connection
        self._emit("flow_finished", now, flow.result(now=now))
        if connection is None:
            self._datagram_flows.remove(flow)
            if flow.awaited is not None and flow.peer is not None:
                self._endpoint.expect_no_more(self.settings.peers[flow.peer].address, flow.awaited)
            return
        self._flow_of.pop(connection, None)
        if connection.closed:
            return
        if not outcome.ok:
            connection.close(code, outcome.error[:200], now=now)
        elif flow.role == "source":
            connection.close(now=now)

    # Commands.

    def _status(self, arguments: Mapping[str, object], now: Instant) -> Mapping[str, object]:
        return {
            "node": self.settings.name,
            "address": f"{self.address:016x}",
            "listen": list(self.settings.listen),
            "time": now,
            "stopping": self.stopping,
            "peers": sorted(self.settings.peers),
            "connections": len(self.connections),
            "drops": dict(self._drops),
            "flows": [
                {
                    "flow": flow.name,
                    "workload": flow.workload,
                    "role": flow.role,
                    "bytes": flow.side.progress()[0],
                }
                for flow in self._flows.values()
            ],
        }

    def _start_flow(self, arguments: Mapping[str, object], now: Instant) -> Mapping[str, object]:
        if self.stopping:
            raise WorkloadError("this node is stopping")
        if len(self._flows) >= MAX_FLOWS:
            raise WorkloadError(f"{MAX_FLOWS} flows are running, no more are allowed")
        wanted = read_flow_request(arguments, running=self._flows, peers=self.settings.peers)
        name = wanted.name
        if self._carrier is None:
            configuration = configuration_of(self.settings.transport, wanted.transport)
        else:
            configuration = self._carrier.configure(wanted.workload.name, wanted.transport)
        flow = Flow(
            name,
            workload=wanted.workload.name,
            role=wanted.role,
            peer=wanted.peer,
            make_side=functools.partial(wanted.make_side, self._resources),
            configuration=configuration,
            series=wanted.series(),
        )
        if flow.side.connectionless:
            return self._start_datagrams(flow, now)
        self._flows[name] = flow
        try:
            self._connect(flow, now)
        except LocalProtocolError:
            del self._flows[name]
            flow.side.abort()
            raise
        return {"flow": name}

    def _connect(self, flow: Flow, now: Instant) -> None:
        """Open a source's next connection; have a target expect it."""
        flow.renew()
        if flow.peer is None:
            return
        peer = self.settings.peers[flow.peer]
        if flow.role != "source":
            self._endpoint.expect(peer.address, flow.configuration)
            flow.awaited = flow.configuration
            return
        connection = self._endpoint.connect(peer, configuration=flow.configuration, now=now)
        if not flow.resumed:
            announced = flow.side.announcement()
            self._emit("flow_started", now, {**announced, "flow": flow.name, "role": flow.role})
        flow.attach(connection, now=now)
        self._flow_of[connection] = flow
        if connection.writable:  # SPEC 15-3: a ticket is held
            self._guarded(flow, functools.partial(flow.start_source, now=now), now)

    def _start_datagrams(self, flow: Flow, now: Instant) -> Mapping[str, object]:
        """Let a flow without a connection begin: at both ends at once, nothing announces it."""
        if flow.peer is None:
            raise WorkloadError(f"peer: a {flow.workload} flow needs a node's name at both ends")
        if self.settings.peers[flow.peer].address == self.address:
            raise WorkloadError(f"peer: found {flow.peer!r}, a node cannot send datagrams to itself")
        self._flows[flow.name] = flow
        datagrams = self._datagram_flows.add(flow, self.settings.peers[flow.peer])
        announced = flow.side.announcement()
        self._emit("flow_started", now, {**announced, "flow": flow.name, "role": flow.role})
        self._guarded(flow, functools.partial(flow.begin_datagrams, datagrams, now=now), now)
        return {"flow": flow.name}

    def _stop_flow(self, arguments: Mapping[str, object], now: Instant) -> Mapping[str, object]:
        flow = self._flow(arguments)
        flow.fail("stopped by command")
        self._finish(flow, now, code=FLOW_STOPPED)
        return {"flow": flow.name}

    def _statistics(self, arguments: Mapping[str, object], now: Instant) -> Mapping[str, object]:
        wanted = [self._flow(arguments).connection] if "flow" in arguments else self._endpoint.connections
        connections = []
        for connection in self._endpoint.connections:
            flow = self._flow_of.get(connection)
            if connection in wanted:
                connections.append(
                    {
                        "flow": flow.name if flow is not None else None,
                        "peer": self._peer_names.get(connection.peer_address),
                        "peer_address": f"{connection.peer_address:016x}",
                        "statistics": statistics_data(connection.statistics()),
                    }
                )
        return {"connections": connections}

    def _windows(self, arguments: Mapping[str, object], now: Instant) -> Mapping[str, object]:
        flow = self._flow(arguments)
        if flow.connection is None or flow.stream_id is None:
            raise WorkloadError(f"flow {flow.name!r} has no stream yet")
        windows = flow.connection.windows(flow.stream_id)
        return {**asdict(windows), "shared": windows.shared}

    def _migrate(self, arguments: Mapping[str, object], now: Instant) -> Mapping[str, object]:
        """Let all open connections go on from the address that the driver has moved to (SPEC 13.3)."""
        moved, refused = 0, []
        for connection in self._endpoint.connections:
            if connection.writable and not connection.closed:
                try:
                    connection.migrate(now=now)
                    moved += 1
                except LocalProtocolError as error:
                    refused.append(f"{self._peer_names.get(connection.peer_address)}: {error}")
        if refused:
            raise WorkloadError(f"{len(refused)} connections stay where they are: {'; '.join(refused)}")
        return {"moved": moved}

    def _stop(self, arguments: Mapping[str, object], now: Instant) -> Mapping[str, object]:
        self.stopping = True
        for flow in list(self._flows.values()):
            flow.fail("the node stopped")
            self._finish(flow, now, code=FLOW_STOPPED)
        self._endpoint.close(now=now)
        return {}

    def _flow(self, arguments: Mapping[str, object]) -> Flow:
        flow = self._flows.get(str(arguments.get("flow")))
        if flow is None:
            known = ", ".join(self._flows) or "none is running"
            raise WorkloadError(f"flow: found {arguments.get('flow')!r}, use one of: {known}")
        return flow

    # Telling.

    def _emit(self, kind: str, now: Instant, data: Mapping[str, object]) -> None:
        self._events.append(NodeEvent(self.settings.name, kind, now, data))

    def _emit_closed(self, connection: FlowConnection, event: ConnectionClosed, now: Instant) -> None:
        peer = self._peer_names.get(connection.peer_address)
        self._emit("connection_closed", now, closed_data(event, peer, connection.peer_address))
