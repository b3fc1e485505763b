"""QUIC by aioquic, without I/O: time and datagrams are given to it, so it runs in a simulation as well.

aioquic is an extra of its own and imported only where a flow asks for it. Its certificates are made on the
spot and looked at by nobody: a flow over QUIC is encrypted, and its peers are not proven.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.util
import json
import random
import ssl
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, ClassVar

from node.carried.due_times import DueTimes
from node.carried.quic_connection import QuicConnection
from node.carrier import Carrier
from node.protocol.datagrams import MAX_BURST_BYTES, MAX_SEGMENTS, Burst, SocketAddress, Transmit
from node.protocol.errors import LocalProtocolError
from node.protocol.events import (
    DatagramReceived,
    Event,
)
from node.protocol.identity import Peer
from node.protocol.time import SECOND, Instant
from node.settings import NodeSettings
from node.transports.base import STREAM_WORKLOADS, TRANSPORTS, check_settings

ALPN = "narrows-flow"
#: Port of QUIC at a node: this many above that of Strait.
PORT_OFFSET = 1
#: Windows as wide as Strait's widest, so that they do not limit what is compared.
WINDOW_BYTES = 16 << 20
IDLE_SECONDS = 30.0
#: Connections that peers may have open at a node.
MAX_CONNECTIONS = 1024
DEFAULT_DATAGRAM_BYTES = 1452
CONNECTION_ID_BYTES = 8
TOKEN_BYTES = 8
_NOT_THERE = "QUIC flows need aioquic, which is not installed: pip install 'narrows[quic]'"


@TRANSPORTS.register("quic")
class Quic:
    """QUIC version 1 as aioquic speaks it."""

    name: ClassVar[str] = "quic"
    workloads: ClassVar[tuple[str, ...]] = STREAM_WORKLOADS
    virtual_time: ClassVar[bool] = True
    settings: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "congestion": ("cubic", "reno"),
        "max_datagram_size": (),
    }
    needs_kernel: ClassVar[bool] = False

    @staticmethod
    def missing(settings: Mapping[str, object]) -> str | None:
        """Return that aioquic is not installed, if it is not."""
        return None if importlib.util.find_spec("aioquic") is not None else _NOT_THERE

    @staticmethod
    def carrier(node: NodeSettings, rng: random.Random, key_log: Callable[[str], None] | None) -> Carrier:
        """Return the node's endpoint."""
        return QuicEndpoint(node, rng, key_log)


class QuicEndpoint:
    """All QUIC connections of a node.

    Args:
        node: who it is; its private key gives the certificate's.
        rng: where connection IDs, tokens and TLS randoms come from. Keys are the cryptography library's own.
        key_log: takes lines as browsers write them to SSLKEYLOGFILE.
    """

    def __init__(self, node: NodeSettings, rng: random.Random, key_log: Callable[[str], None] | None) -> None:
        self._rng = rng
        self._seed = hashlib.sha256(b"narrows quic " + node.private_key).digest()
        self._key_log = None if key_log is None else _KeyLog(key_log)
        #: Each with the IDs that lead to it.
        self._connections: dict[QuicConnection, dict[bytes, None]] = {}
        self._timers: DueTimes[QuicConnection] = DueTimes()
        self._by_id: dict[bytes, QuicConnection] = {}
        self._events: deque[tuple[QuicConnection, Event]] = deque()
        self._dirty: dict[QuicConnection, None] = {}
        self._outgoing: deque[tuple[bytes, SocketAddress]] = deque()
        #: Settings of connections to come, by the token that tells of them.
        self._expected: dict[bytes, list[Mapping[str, Any]]] = {}
        self._now: Instant = 0

    def configure(self, workload: str, settings: Mapping[str, object]) -> Mapping[str, Any]:
        """Return the settings of a connection (LocalProtocolError: not here)."""
        chosen = check_settings(Quic, workload, settings)
        missing = Quic.missing(chosen)
        if missing is not None:
            raise LocalProtocolError(missing)
        return chosen

    # What the world did.

    def receive(self, burst: Burst, *, now: Instant) -> None:
        """Take a received burst of datagrams."""
        self._now = now
        buffer, size = burst.buffer, burst.segment_size
        with self.chance():
            for start in range(0, len(buffer), size):
                datagram = bytes(buffer[start : start + size])
                connection = self._connection_of(datagram)
                if connection is not None:
                    connection.receive(datagram, burst.source, now=now)
                    self._after(connection)

    def handle_timeout(self, *, now: Instant) -> None:
        """Do what is due at all connections."""
        self._now = now
        with self.chance():
            for connection in self._timers.take(now):
                connection.handle_timeout(now=now)
                self._after(connection)

    # What the caller wants.

    def connect(self, peer: Peer, *, configuration: Any = None, now: Instant) -> QuicConnection:
        """Begin a connection; ConnectionEstablished or ConnectionClosed follows."""
        from aioquic.quic import connection as library

        self._now = now
        host, port = peer.socket_address
        settings = configuration or {}
        with self.chance():
            inner = library.QuicConnection(configuration=self._configuration(settings, is_client=True))
            inner.connect((host, port + PORT_OFFSET), now=now / SECOND)
        connection = QuicConnection(inner, self, initiator=True, settings=settings)
        self._keep(connection)
        return connection

    def expect(self, peer_address: int, configuration: Any) -> None:
        """Take the next connection with settings of its own."""
        self._expected.setdefault(_token(configuration), []).append(configuration)

    def expect_no_more(self, peer_address: int, configuration: Any) -> None:
        """Take back one ``expect``, if its connection has not come."""
        if waiting := self._expected.get(_token(configuration)):
            waiting.pop()

    def close(self, *, now: Instant) -> None:
        """Close all connections."""
        for connection in list(self._connections):
            connection.close(now=now)

    # What to do now.

    def transmit(self, *, now: Instant) -> Transmit | None:
        """Return the next burst to send, or None."""
        self._now = now
        with self.chance():
            while not self._outgoing and self._dirty:
                connection = next(iter(self._dirty))
                del self._dirty[connection]
                self._outgoing.extend(connection.datagrams_to_send(now=now))
                self._after(connection, sends=False)
        if not self._outgoing:
            return None
        first, address = self._outgoing.popleft()
        parts, size = [first], len(first)
        while self._outgoing and len(parts) < MAX_SEGMENTS and len(parts[-1]) == len(first):
            following, towards = self._outgoing[0]
            if towards != address or len(following) > len(first) or size + len(following) > MAX_BURST_BYTES:
                break
            parts.append(following)
            size += len(following)
            self._outgoing.popleft()
        return Transmit(address, memoryview(b"".join(parts)), len(first))

    def next_event(self) -> tuple[QuicConnection, Event] | None:
        """Return the next event and its connection, or None."""
        return self._events.popleft() if self._events else None

    def next_datagram(self) -> DatagramReceived | None:
        """Return None: flows of connectionless datagrams are Strait's."""
        return None

    def next_timeout(self) -> Instant | None:
        """Return when ``handle_timeout`` is to be called at the latest."""
        if self._dirty:
            return self._now
        return self._timers.next()

    @property
    def connections(self) -> tuple[QuicConnection, ...]:
        """All connections that are not forgotten yet."""
        return tuple(self._connections)

    # For the connections.

    def wake(self, connection: QuicConnection) -> None:
        """Note that a connection may have something to send."""
        self._dirty[connection] = None

    def report(self, connection: QuicConnection, event: Event) -> None:
        """Queue an event."""
        self._events.append((connection, event))

    def know(self, connection_id: bytes, connection: QuicConnection | None) -> None:
        """Route datagrams to this ID to a connection; None: to no connection any more."""
        known = self._by_id.pop(connection_id, None)
        if known is not None:
            self._connections[known].pop(connection_id, None)
        if connection is not None:
            self._by_id[connection_id] = connection
            self._connections[connection][connection_id] = None

    @contextmanager
    def chance(self) -> Iterator[None]:
        """Have aioquic draw from our generator while it works; a real node's own is the system's anyway.

        Its streams are then found in the same order in each run as well.
        """
        if isinstance(self._rng, random.SystemRandom):
            yield
            return
        from aioquic import tls
        from aioquic.quic import connection, packet

        modules: list[Any] = [tls, connection, packet]
        before = [module.os for module in modules]
        library: Any = connection
        stream = library.QuicStream
        for module in modules:
            module.os = _Chance(self._rng)
        library.QuicStream = _ordered_stream()
        try:
            yield
        finally:
            library.QuicStream = stream
            for module, found in zip(modules, before, strict=True):
                module.os = found

    def _keep(self, connection: QuicConnection) -> None:
        self._connections[connection] = {}
        self.know(connection.first_id, connection)
        self.wake(connection)

    def _after(self, connection: QuicConnection, *, sends: bool = True) -> None:
        connection.take_events()
        if connection.gone:
            for connection_id in self._connections.pop(connection, ()):
                del self._by_id[connection_id]
            self._timers.set(connection, None)
        elif sends:
            self.wake(connection)
        else:
            self._timers.set(connection, connection.next_timeout())

    def _connection_of(self, datagram: bytes) -> QuicConnection | None:
        """Return the connection of a datagram; an Initial of a client makes one."""
        from aioquic.buffer import Buffer
        from aioquic.quic import connection as library
        from aioquic.quic.packet import QuicPacketType, QuicProtocolVersion, pull_quic_header

        try:
            header = pull_quic_header(Buffer(data=datagram), host_cid_length=CONNECTION_ID_BYTES)
        except ValueError:
            return None
        found = self._by_id.get(header.destination_cid)
        if found is not None or header.packet_type != QuicPacketType.INITIAL or len(datagram) < 1200:
            return found
        if header.version != QuicProtocolVersion.VERSION_1 or len(self._connections) >= MAX_CONNECTIONS:
            return None
        waiting = self._expected.get(header.token)
        settings = waiting.pop() if waiting else {}
        inner = library.QuicConnection(
            configuration=self._configuration(settings, is_client=False),
            original_destination_connection_id=header.destination_cid,
        )
        connection = QuicConnection(inner, self, initiator=False, settings=settings)
        self._keep(connection)
        self.know(header.destination_cid, connection)
        return connection

    def _configuration(self, settings: Mapping[str, Any], *, is_client: bool) -> Any:
        from aioquic.quic.configuration import QuicConfiguration
        from aioquic.quic.congestion import cubic, reno  # they register themselves

        assert cubic.CubicCongestionControl
        assert reno.RenoCongestionControl
        configuration = QuicConfiguration(
            is_client=is_client,
            alpn_protocols=[ALPN],
            congestion_control_algorithm=settings.get("congestion", "cubic"),
            max_datagram_size=settings.get("max_datagram_size", DEFAULT_DATAGRAM_BYTES),
            max_data=WINDOW_BYTES,
            max_stream_data=WINDOW_BYTES,
            idle_timeout=IDLE_SECONDS,
            token=_token(settings) if is_client else b"",
            connection_id_length=CONNECTION_ID_BYTES,
            secrets_log_file=self._key_log,
            verify_mode=ssl.CERT_NONE if is_client else None,
            server_name="narrows.test" if is_client else None,
        )
        if not is_client:
            configuration.certificate, configuration.private_key = _certificate(self._seed)
        return configuration


def _token(settings: Mapping[str, Any]) -> bytes:
    """Return what a client says of its settings in its Initial, for the server to take the same.

    Several flows may begin at once and their Initials overtake each other; whose is whose shows nowhere else
    before the server must have chosen. A server that does not know a token is to ignore it (RFC 9000 §8.1.3).
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).digest()[:TOKEN_BYTES]


class _Chance:
    """Stands for the module ``os`` in aioquic, which uses nothing of it but ``urandom``."""

    def __init__(self, rng: random.Random) -> None:
        self.urandom = rng.randbytes


@lru_cache(maxsize=1)
def _ordered_stream() -> Any:
    """Return aioquic's stream, hashed by its id.

    What was sent in a packet goes to the end of the queue in the order of a *set* of streams: by default that
    follows from where in memory they are, and two runs of one seed differ.
    """
    from aioquic.quic.stream import QuicStream

    class OrderedStream(QuicStream):  # type: ignore[misc]  # aioquic may not be there
        def __hash__(self) -> int:
            return -1 if self.stream_id is None else hash(self.stream_id)

    return OrderedStream


class _KeyLog:
    """A file, as aioquic wants one, that hands its lines on."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take

    def write(self, text: str) -> None:
        """Hand a line on."""
        self._take(text)

    def flush(self) -> None:
        """Nothing waits."""


@lru_cache(maxsize=256)
def _certificate(seed: bytes) -> tuple[Any, Any]:
    """Return a self-signed certificate and its key: Ed25519, so that sizes are the same in every run."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.x509.oid import NameOID

    key = Ed25519PrivateKey.from_private_bytes(seed)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "narrows.test")])
    begin = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin.replace(year=2070))
        .sign(key, None)
    )
    return certificate, key
