"""The virtual driver of a node: what the agent is to a socket, this is to a simulated station."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from node.control.messages import Command, NodeEvent, Reply
from node.core import NodeCore
from node.protocol.datagrams import MAX_BURST_BYTES, MAX_SEGMENTS, Burst, SocketAddress
from node.protocol.time import Instant
from orchestrator.simulation.network import Station
from orchestrator.simulation.packet import Packet
from orchestrator.simulation.scheduler import Scheduler
from orchestrator.simulation.traffic import COMMANDS as TRAFFIC_COMMANDS
from orchestrator.simulation.traffic import Traffic

#: Packets that wait for a paused node, as in its socket's receive buffer; more are dropped.
INBOX_PACKETS = 4096
#: Ports that a socket moves to, counted up from here: the first of the ephemeral ones.
FIRST_MOVED_PORT = 49_152


class Host:
    """Runs a NodeCore on virtual time: each mutation is followed by a full drain.

    Packets that arrive at one instant are handed over together, and as one burst where they are equal in
    size and source, as a socket with UDP GRO would find them. No CPU time passes.

    Args:
        on_event: takes what the node reports.
    """

    def __init__(
        self,
        core: NodeCore,
        station: Station,
        scheduler: Scheduler,
        *,
        on_event: Callable[[NodeEvent], None],
    ) -> None:
        self._core = core
        self._station = station
        self._scheduler = scheduler
        self._on_event = on_event
        self._source: SocketAddress = (station.plan.ipv4, station.plan.port)
        station.listen = self._source
        self._traffic = Traffic(station, scheduler)
        self._port = FIRST_MOVED_PORT
        self._inbox: deque[Packet] = deque()
        self._reading = False
        # The earliest wake-up that the scheduler holds for us; later ones find nothing to do.
        self._wake_at: Instant | None = None
        self.paused = False
        self._stopped = False
        station.deliver = self._take
        self._drain()

    def command(self, command: Command) -> Reply:
        """Hand a command to the node and return its reply."""
        if command.name in TRAFFIC_COMMANDS:
            return self._traffic.handle(command)
        if command.name == "rebind":
            return self._rebind(command)
        reply = self._core.handle_command(command, now=self._scheduler.now)
        self._drain()
        return reply

    def _rebind(self, command: Command) -> Reply:
        """Go on from another address or port, as an agent's driver does; what is under way is lost."""
        host, port = self._source
        if command.arguments.get("new_port", True):
            port, self._port = self._port, self._port + 1
        self._source = self._station.listen = (str(command.arguments.get("host", host)), port)
        reply = Reply(True)
        if command.arguments.get("migrate"):
            reply = self._core.handle_command(Command("migrate"), now=self._scheduler.now)
        self._drain()
        return Reply(reply.ok, {**reply.data, "listen": list(self._source)}, reply.error)

    def pause(self) -> None:
        """Let the node do nothing, as a stopped process: packets wait, timers run late."""
        self.paused = True

    def resume(self) -> None:
        """Let a paused node go on with what has waited."""
        if not self.paused:
            return
        self.paused = False
        self._read_soon()
        self._wake_soon(self._scheduler.now)

    def stop(self) -> None:
        """End the node as if it was killed: it says no more, and nothing listens at its address."""
        self._stopped = True
        self._inbox.clear()
        self._station.deliver = None
        self._traffic.close()

    def next_timeout(self) -> Instant | None:
        """Return when the node next wants to act by itself."""
        return None if self._stopped else self._core.next_timeout()

    def _take(self, packet: Packet) -> None:
        if len(self._inbox) >= INBOX_PACKETS:
            self._station.drops["receive buffer is full"] += 1
            return
        self._inbox.append(packet)
        self._read_soon()

    def _read_soon(self) -> None:
        # After everything else that arrives now, so that it is read together.
        if self._inbox and not self._reading and not self.paused:
            self._reading = True
            self._scheduler.at(self._scheduler.now, self._read)

    def _read(self, _: object) -> None:
        self._reading = False
        if self.paused:
            return
        inbox, core, now = self._inbox, self._core, self._scheduler.now
        while inbox and not self._stopped:
            core.receive(next_burst(inbox), now=now)
            self._drain()

    def _wake(self, at: Instant) -> None:
        if self._wake_at == at:
            self._wake_at = None
        if self._stopped or self.paused:
            return
        deadline = self._core.next_timeout()
        if deadline is None:
            return
        if deadline <= self._scheduler.now:
            self._core.handle_timeout(now=self._scheduler.now)
            self._drain()
        else:
            self._wake_soon(deadline)

    def _drain(self) -> None:
        core, now = self._core, self._scheduler.now
        send, source = self._station.send, self._source
        while (transmit := core.transmit(now=now)) is not None:
            buffer, size = transmit.buffer, transmit.segment_size
            for start in range(0, len(buffer), size):
                payload = bytes(buffer[start : start + size])
                send(Packet(source, transmit.destination, payload, ecn=transmit.ecn))
        while (event := core.next_event()) is not None:
            self._on_event(event)
        deadline = core.next_timeout()
        if deadline is not None:
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
