"""Kernel TCP: non-blocking sockets under the face of a carrier, one stream a connection, in the clear.

The end of the stream is the half-close of the socket. Nothing proves who the peer is.
"""

from __future__ import annotations

import errno
import logging
import random
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from node.carried.tcp_connection import DEFAULT_CONTROLLER, TcpConnection, Watcher
from node.carrier import Carrier
from node.protocol.datagrams import Burst, Transmit
from node.protocol.errors import LocalProtocolError
from node.protocol.events import (
    DatagramReceived,
    Event,
)
from node.protocol.identity import Peer
from node.protocol.time import SECOND, Duration, Instant
from node.settings import NodeSettings
from node.transports.base import STREAM_WORKLOADS, TRANSPORTS, check_settings

#: Congestion controllers of Linux that a flow may name; the kernel must have it. The first is what others
#: than flows of ours get, too. Each has a port of its own, so many above the node's: a connection shows
#: nothing else of whose it is before data comes, and several may come from one host in any order.
CONTROLLERS = ("cubic", "bbr", "reno")
assert CONTROLLERS[0] == DEFAULT_CONTROLLER
BACKLOG = 512
#: What accept says where the process or the machine is out of descriptors or memory: the connection stays in
#: the backlog, so the listener stays readable, and whoever watches it spins.
_OUT_OF_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: How long to wait then, unless a connection of ours ends before: others may have let go of descriptors.
PAUSE: Duration = SECOND
_log = logging.getLogger(__name__)


@TRANSPORTS.register("tcp")
class Tcp:
    """TCP of the kernel under the node."""

    name: ClassVar[str] = "tcp"
    workloads: ClassVar[tuple[str, ...]] = STREAM_WORKLOADS
    virtual_time: ClassVar[bool] = False
    settings: ClassVar[Mapping[str, tuple[object, ...]]] = {"congestion": CONTROLLERS}
    needs_kernel: ClassVar[bool] = True

    @staticmethod
    def missing(settings: Mapping[str, object]) -> str | None:
        """Return that the kernel lacks the congestion controller, if it does: found out by trying."""
        name = _controller(settings)
        try:
            probe = socket.socket()
        except OSError as error:
            return f"the kernel gives no TCP socket: {error.strerror}"
        with probe:
            try:
                probe.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
            except PermissionError:
                return f"the kernel lets only who has CAP_NET_ADMIN use TCP congestion control {name}: " + (
                    f"run this as root, or add {name} to sysctl net.ipv4.tcp_allowed_congestion_control"
                )
            except OSError as error:
                return f"the kernel lets no socket use TCP congestion control {name} ({error.strerror}): " + (
                    f"try modprobe tcp_{name}, or take another for this flow"
                )
        return None

    @staticmethod
    def carrier(node: NodeSettings, rng: random.Random, key_log: Callable[[str], None] | None) -> Carrier:
        """Return the node's endpoint; it needs ``start`` before its first flow."""
        return TcpEndpoint(node)


class TcpEndpoint:
    """All TCP connections of a node.

    Args:
        node: says where to listen, and who the peers are.
    """

    def __init__(self, node: NodeSettings) -> None:
        self._listen = node.listen
        #: By the congestion controller of connections that come there.
        self._listeners: dict[str, socket.socket] = {}
        self._watcher: Watcher | None = None
        self._on_news: Callable[[], None] = lambda: None
        self._connections: dict[TcpConnection, None] = {}
        self._events: deque[tuple[TcpConnection, Event]] = deque()
        #: Whether there was no room for a connection that waits, and until when none is taken.
        self._paused = False
        self._resume_at: Instant | None = None
        #: Listeners of which that was logged: once until all that wait there have been taken.
        self._told: set[str] = set()

    def start(self, watcher: Watcher, on_news: Callable[[], None]) -> None:
        """Use an event loop; ``on_news`` is called whenever there may be events or room to write."""
        self._watcher, self._on_news = watcher, on_news

    def configure(self, workload: str, settings: Mapping[str, object]) -> Mapping[str, Any]:
        """Return the settings of a connection (LocalProtocolError: not here)."""
        chosen = check_settings(Tcp, workload, settings)
        missing = Tcp.missing(chosen)
        if missing is not None:
            raise LocalProtocolError(missing)
        return chosen

    # What the world did: sockets call back, nothing comes as a burst.

    def receive(self, burst: Burst, *, now: Instant) -> None:
        """Nothing: TCP has no datagrams."""

    def handle_timeout(self, *, now: Instant) -> None:
        """Listen again; all other timers are the kernel's."""
        if self._resume_at is not None and now >= self._resume_at:
            self._resume()

    # What the caller wants.

    def connect(self, peer: Peer, *, configuration: Any = None, now: Instant) -> TcpConnection:
        """Begin a connection; ConnectionEstablished or ConnectionClosed follows."""
        host, port = peer.socket_address
        made, settings = _new_socket(host), configuration or {}
        connection = TcpConnection(made, self, initiator=True, settings=settings)
        error = 0
        try:
            made.bind((self._listen[0], 0))
            error = made.connect_ex((host, port + CONTROLLERS.index(_controller(settings))))
        except OSError as failed:
            error = failed.errno or errno.EINVAL
        except OverflowError:  # no such port
            error = errno.EADDRNOTAVAIL
        connection.begin(error)
        return connection

    def expect(self, peer_address: int, configuration: Any) -> None:
        """Listen for connections with these settings, from anybody: TCP proves no peer."""
        controller = _controller(configuration)
        if controller not in self._listeners:
            self._listeners[controller] = self._open_listener(controller)

    def expect_no_more(self, peer_address: int, configuration: Any) -> None:
        """Listen on: whose flow has ended is told so."""

    def close(self, *, now: Instant) -> None:
        """Close all connections, and listen no more."""
        for connection in list(self._connections):
            connection.close(now=now)
        for listener in self._listeners.values():
            if self._watcher is not None:
                self._watcher.remove_reader(listener)
            listener.close()
        self._listeners.clear()
        self._paused, self._resume_at = False, None

    # What to do now.

    def transmit(self, *, now: Instant) -> Transmit | None:
        """Give the kernel what it takes; return None, since nothing is left to others."""
        for connection in list(self._connections):
            connection.flush()
        if self._paused and self._resume_at is None:
            self._resume_at = now + PAUSE
        return None

    def next_event(self) -> tuple[TcpConnection, Event] | None:
        """Return the next event and its connection, or None."""
        return self._events.popleft() if self._events else None

    def next_datagram(self) -> DatagramReceived | None:
        """Return None: TCP has none."""
        return None

    def next_timeout(self) -> Instant | None:
        """Return when to listen again, if that waits; all other timers are the kernel's."""
        return self._resume_at

    @property
    def connections(self) -> tuple[TcpConnection, ...]:
        """All open connections."""
        return tuple(self._connections)

    # For the connections.

    @property
    def watcher(self) -> Watcher:
        """The event loop."""
        assert self._watcher is not None, "start() comes first"
        return self._watcher

    def report(self, connection: TcpConnection, event: Event) -> None:
        """Queue an event."""
        self._events.append((connection, event))

    def news(self) -> None:
        """Let the driver look."""
        self._on_news()

    def keep(self, connection: TcpConnection) -> None:
        """Count a connection among the open ones."""
        self._connections[connection] = None

    def forget(self, connection: TcpConnection) -> None:
        """Take a connection out."""
        self._connections.pop(connection, None)
        self._resume()

    def _open_listener(self, controller: str) -> socket.socket:
        host, port = self._listen[0], self._listen[1] + CONTROLLERS.index(controller)
        made = _new_socket(host)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port))
            made.listen(BACKLOG)
        except (OSError, OverflowError) as error:
            made.close()
            reason = error.strerror if isinstance(error, OSError) else "there is no such port"
            raise LocalProtocolError(f"cannot listen for TCP at {host}:{port}: {reason}") from error
        if not self._paused:
            self._watch(controller, made)
        return made

    def _watch(self, controller: str, listener: socket.socket) -> None:
        self.watcher.add_reader(listener, self._on_accept, controller, listener)

    def _on_accept(self, controller: str, listener: socket.socket) -> None:
        while True:
            try:
                made, _ = listener.accept()
            except OSError as error:
                if error.errno in _OUT_OF_ROOM:
                    self._pause(error, controller, listener)
                else:  # none is left, or it was gone before we took it
                    self._told.discard(controller)
                break
            made.setblocking(False)
            TcpConnection(made, self, initiator=False, settings={"congestion": controller}).begin(0)
        self.news()

    def _pause(self, error: OSError, controller: str, listener: socket.socket) -> None:
        """Watch no listener until there may be room: what waits for one waits in its backlog."""
        for each in self._listeners.values():
            self.watcher.remove_reader(each)
        self._paused = True
        if controller in self._told:
            return
        self._told.add(controller)
        host, port = listener.getsockname()[:2]
        _log.warning(
            "TCP at %s:%s takes no connection for now: %s, with %d open; who waits is taken when others end. "
            "Raise the limit of open files (ulimit -n), or let fewer flows run at once",
            host, port, error.strerror, len(self._connections),
        )  # fmt: skip

    def _resume(self) -> None:
        """Watch the listeners again, if they are not watched."""
        if self._paused:
            self._paused, self._resume_at = False, None
            for controller, listener in self._listeners.items():
                self._watch(controller, listener)


def _controller(settings: Mapping[str, Any]) -> str:
    return str(settings.get("congestion", DEFAULT_CONTROLLER))


def _new_socket(host: str) -> socket.socket:
    """Return a socket for addresses like this one (LocalProtocolError: there is none to be had)."""
    try:
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise LocalProtocolError(f"no TCP socket for {host}: {error.strerror}") from error
    made.setblocking(False)
    return made
