"""Plain UDP at a steady rate, for cross traffic: sent by one agent, taken and counted by another.

- ``take_traffic`` (stream): open a socket that counts what comes; the reply tells its ``port``;
- ``send_traffic`` (stream, host, port, rate_bps of payload, size in bytes): send until told to end;
- ``end_traffic`` (stream): end it; the reply tells ``packets`` and ``bytes``.

Nothing is acknowledged and nothing is repeated: it heeds no loss, as a video or a flood does.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping

from node.control.messages import Command, Reply

#: Seconds between two looks at how much is due: packets of one look leave together.
PERIOD_SECONDS = 0.001
#: Packets that leave together at most; what a late look would have to make up beyond it is dropped.
MAX_TOGETHER = 64
#: Packets taken in one wake-up, so that a flood starves nothing else.
MAX_TAKEN = 256
#: Streams at once at one node.
MAX_STREAMS = 64
_MAX_DATAGRAM = 65_535
_BITS = 8
COMMANDS = frozenset({"take_traffic", "send_traffic", "end_traffic"})


class Traffic:
    """The streams of one agent.

    Args:
        host: local address of the sockets.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._streams: dict[str, _Sender | _Taker] = {}

    def handle(self, command: Command) -> Reply:
        """Obey one of COMMANDS; what cannot be done gets a reply that says why."""
        stream = str(command.arguments.get("stream"))
        try:
            return Reply(True, self._obey(command.name, stream, command.arguments))
        except (OSError, ValueError) as error:
            return Reply(False, error=f"traffic {stream}: {error}")

    def close(self) -> None:
        """End all streams."""
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()

    def _obey(self, name: str, stream: str, arguments: Mapping[str, object]) -> dict[str, object]:
        if name == "end_traffic":
            ended = self._streams.pop(stream, None)
            if ended is None:
                raise ValueError("there is no such stream")
            ended.close()
            return {"packets": ended.packets, "bytes": ended.bytes}
        if stream in self._streams:
            raise ValueError("there is such a stream already; end it first")
        if len(self._streams) >= MAX_STREAMS:
            raise ValueError(f"{MAX_STREAMS} streams are the most")
        if name == "take_traffic":
            taker = self._streams[stream] = _Taker(self._host)
            return {"port": taker.port}
        rate, size, port = (_positive(arguments, key) for key in ("rate_bps", "size", "port"))
        target = (str(arguments.get("host")), port)
        self._streams[stream] = _Sender(self._host, target, rate_bps=rate, size=size)
        return {}


class _Taker:
    """Counts what comes."""

    def __init__(self, host: str) -> None:
        self.packets = self.bytes = 0
        self._socket = _open(host)
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._take)

    def close(self) -> None:
        """Take what is there already, and no more."""
        self._take()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _take(self) -> None:
        for _ in range(MAX_TAKEN):
            try:
                data = self._socket.recv(_MAX_DATAGRAM)
            except OSError:
                return
            self.packets += 1
            self.bytes += len(data)


class _Sender:
    """Sends what is due, every PERIOD_SECONDS."""

    def __init__(self, host: str, target: tuple[str, int], *, rate_bps: int, size: int) -> None:
        self.packets = self.bytes = 0
        self._socket = _open(host)
        self._target = target
        self._payload = bytes(size)
        self._per_second = rate_bps / (_BITS * size)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._due_before = 0
        self._timer = self._loop.call_soon(self._send)

    def close(self) -> None:
        """Send no more."""
        self._timer.cancel()
        self._socket.close()

    def _send(self) -> None:
        due = int((self._loop.time() - self._began) * self._per_second) + 1
        for _ in range(min(due - self._due_before, MAX_TOGETHER)):
            try:
                self._socket.sendto(self._payload, self._target)
            except OSError:
                break  # full buffers, no route: lost, as on any link
            self.packets += 1
            self.bytes += len(self._payload)
        self._due_before = due
        wait = max(PERIOD_SECONDS, 1 / self._per_second)
        self._timer = self._loop.call_later(wait, self._send)


def _open(host: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        made.bind((host, 0))
    except OSError:
        made.close()
        raise
    return made


def _positive(arguments: Mapping[str, object], name: str) -> int:
    value = arguments.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name}: found {value!r:.100}, must be a whole number above 0")
    return value
