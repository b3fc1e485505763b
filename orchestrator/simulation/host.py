"""The virtual driver of a node: what the agent is to a socket, this is to a simulated station."""

from __future__ import annotations

from collections.abc import Callable

from node.control.messages import Command, NodeEvent, Reply
from node.core import NodeCore
from node.protocol.time import Instant
from orchestrator.simulation.driver import Driver
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
    """Runs a NodeCore on virtual time, at a station of the network.

    Args:
        on_event: takes what the node reports.
        port: of another transport at a node that has a host already; None: this is the node's own.
    """

    def __init__(
        self,
        core: NodeCore,
        station: Station,
        scheduler: Scheduler,
        *,
        on_event: Callable[[NodeEvent], None],
        port: int | None = None,
    ) -> None:
        self._core = core
        self._station = station
        self._scheduler = scheduler
        self._on_event = on_event
        self._traffic = Traffic(station, scheduler)
        self._port = FIRST_MOVED_PORT
        self._driver = Driver(
            core,
            scheduler,
            source=(station.plan.host, port or station.plan.port),
            send=station.send,
            take_events=self._take_events,
        )
        self._other_port = port
        #: Hosts of other transports at this node: they pause and end with it.
        self.others: dict[str, Host] = {}
        if port is None:
            station.listen = self._driver.source
            station.deliver = self._take
        else:
            station.sockets[port] = self._take
        self._driver.drain()

    @property
    def paused(self) -> bool:
        """Whether the node does nothing for now."""
        return self._driver.paused

    def command(self, command: Command) -> Reply:
        """Hand a command to the node and return its reply."""
        if command.name in TRAFFIC_COMMANDS:
            return self._traffic.handle(command)
        if command.name == "rebind":
            return self._rebind(command)
        reply = self._core.handle_command(command, now=self._scheduler.now)
        self._driver.drain()
        return reply

    def _rebind(self, command: Command) -> Reply:
        """Go on from another address or port, as an agent's driver does; what is under way is lost."""
        driver = self._driver
        host, port = driver.source
        if command.arguments.get("new_port", True):
            port, self._port = self._port, self._port + 1
        driver.source = self._station.listen = (str(command.arguments.get("host", host)), port)
        reply = Reply(True)
        if command.arguments.get("migrate"):
            reply = self._core.handle_command(Command("migrate"), now=self._scheduler.now)
        driver.drain()
        return Reply(reply.ok, {**reply.data, "listen": list(driver.source)}, reply.error)

    def pause(self) -> None:
        """Let the node do nothing, as a stopped process: packets wait, timers run late."""
        self._driver.paused = True
        for other in self.others.values():
            other.pause()

    def resume(self) -> None:
        """Let a paused node go on with what has waited."""
        if self._driver.paused:
            self._driver.resume()
        for other in self.others.values():
            other.resume()

    def stop(self) -> None:
        """End the node as if it was killed: it says no more, and nothing listens at its address."""
        self._driver.stop()
        for other in self.others.values():
            other.stop()
        if self._other_port is None:
            self._station.deliver = None
        else:
            self._station.sockets.pop(self._other_port, None)
        self._traffic.close()

    def next_timeout(self) -> Instant | None:
        """Return when the node next wants to act by itself."""
        return None if self._driver.stopped else self._core.next_timeout()

    def _take(self, packet: Packet) -> None:
        if self._driver.waiting >= INBOX_PACKETS:
            self._station.drops["receive buffer is full"] += 1
            return
        self._driver.take(packet)

    def _take_events(self) -> bool:
        while (event := self._core.next_event()) is not None:
            self._on_event(event)
        return False  # who hears of them calls us, if at all, by ``command``
