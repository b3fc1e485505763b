"""Plain UDP at a steady rate between two simulated stations: what node.agent.traffic is to a socket."""

from __future__ import annotations

from collections.abc import Mapping

from node.control.messages import Command, Reply
from node.protocol.datagrams import SocketAddress
from node.protocol.time import SECOND, Instant
from orchestrator.simulation.network import Station
from orchestrator.simulation.packet import Packet
from orchestrator.simulation.scheduler import Scheduler

#: Ports of streams, counted up from here; hosts' sockets move elsewhere.
FIRST_PORT = 20_000
COMMANDS = frozenset({"take_traffic", "send_traffic", "end_traffic"})
_BIT_NS = 8 * SECOND


class Traffic:
    """The streams of one station."""

    def __init__(self, station: Station, scheduler: Scheduler) -> None:
        self._station = station
        self._scheduler = scheduler
        self._ports = FIRST_PORT
        self._streams: dict[str, _Stream] = {}

    def handle(self, command: Command) -> Reply:
        """Obey one of COMMANDS, as an agent does."""
        arguments = command.arguments
        name = str(arguments.get("stream"))
        if command.name == "end_traffic":
            stream = self._streams.pop(name, None)
            if stream is None:
                return Reply(False, error=f"traffic {name}: there is no such stream")
            self._end(stream)
            return Reply(True, {"packets": stream.packets, "bytes": stream.bytes})
        if name in self._streams:
            return Reply(False, error=f"traffic {name}: there is such a stream already; end it first")
        self._ports += 1
        stream = self._streams[name] = _Stream((self._station.plan.host, self._ports))
        self._station.sockets[self._ports] = stream.take
        if command.name == "send_traffic":
            self._begin(stream, arguments)
        return Reply(True, {"port": self._ports})

    def close(self) -> None:
        """End all streams, as when their node is killed."""
        for stream in self._streams.values():
            self._end(stream)
        self._streams.clear()

    def _begin(self, stream: _Stream, arguments: Mapping[str, object]) -> None:
        rate, size, port = (int(str(arguments[key])) for key in ("rate_bps", "size", "port"))
        target: SocketAddress = (str(arguments["host"]), port)
        payload, began = bytes(size), self._scheduler.now

        def send(number: int) -> None:
            if not stream.ended:
                stream.count(size)
                self._station.send(Packet(stream.address, target, payload))
                following: Instant = began + (number + 1) * size * _BIT_NS // rate
                self._scheduler.at(following, send, number + 1)

        self._scheduler.at(began, send, 0)

    def _end(self, stream: _Stream) -> None:
        stream.ended = True
        self._station.sockets.pop(stream.address[1], None)


class _Stream:
    """One stream, at either end."""

    def __init__(self, address: SocketAddress) -> None:
        self.address = address
        self.packets = self.bytes = 0
        self.ended = False

    def take(self, packet: Packet) -> None:
        """Count a packet that came."""
        self.count(len(packet.payload))

    def count(self, size: int) -> None:
        """Count a packet."""
        self.packets += 1
        self.bytes += size
