"""One socket, many connections: demultiplexing and the life of connections (SPEC 1-2, 2, 3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain, islice, takewhile
from random import Random

from node.protocol.arena import Arena
from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.datagrams import Burst, SocketAddress, Transmit
from node.protocol.errors import LocalProtocolError
from node.protocol.events import DatagramReceived, Event
from node.protocol.handshake import Accepted, Initiator, Keys, answer, new_connection_id, response_packet
from node.protocol.identity import Identity, Peer
from node.protocol.recovery.manager import MAX_PROBE_INTERVAL
from node.protocol.recovery.rtt import INITIAL_RTT
from node.protocol.sealed.service import SealedService, SealedSettings
from node.protocol.states import ConnectionState
from node.protocol.time import Instant
from node.protocol.timers import Timer, earliest
from node.protocol.trace import TracerOf
from node.protocol.wire.data import is_data
from node.protocol.wire.parameters import TransportParameters
from node.protocol.wire.sealed import SEALED
from node.protocol.wire.setup import INITIATION, RESPONSE, SETUP_PACKET_BYTES, SetupPacket, parse_setup

#: Connections that one endpoint keeps; more INITIATIONs are dropped.
MAX_CONNECTIONS = 4096
#: SPEC 3-5: of these, ones that peers began and did not confirm; a further one takes the oldest's place.
MAX_HALF_OPEN = 1024
#: Connections awaited from one peer with a configuration of their own.
MAX_EXPECTED = 1024
#: Answers waiting to go out. Each stands for one datagram received, so this bounds one burst.
MAX_REPLIES = 256


@dataclass(slots=True)
class Drops:
    """Datagrams that were dropped before they reached a connection, by reason."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str) -> None:
        """Count one."""
        self.counts[reason] = self.counts.get(reason, 0) + 1


@dataclass(slots=True)
class _Half:
    """What a handshake needs until the connection is established."""

    initiator: Initiator | None = None
    accepted: Accepted | None = None
    first_sent: Instant = 0
    timeout: int = INITIAL_RTT * 3
    responses: int = 0


class Endpoint:
    """All Strait connections of one node.

    Args:
        identity: the node's key pair.
        configuration: for connections that peers open, and the default for our own.
        rng: connection IDs and ephemeral keys come from here: a SystemRandom outside simulations.
        key_log: called with each line of the key log (SPEC 11).
        sealed: what connectionless datagrams need (SPEC 14); without it none are sent or taken.
        tracer_of: asked for a tracer of each connection that begins (SPEC 16); None: nothing is traced.
    """

    def __init__(
        self, identity: Identity, configuration: Configuration, *, rng: Random,
        key_log: Callable[[str], None] | None = None, sealed: SealedSettings | None = None,
        tracer_of: TracerOf | None = None,
    ) -> None:  # fmt: skip
        self.identity = identity
        self.configuration = configuration
        self.drops = Drops()
        self._rng = rng
        self._key_log = key_log
        self._sealed = None if sealed is None else SealedService(identity, sealed, rng=rng, key_log=key_log)
        self._tracer_of = tracer_of
        self._arena = Arena()
        self._by_id: dict[bytes, Connection] = {}
        self._half: dict[bytes, _Half] = {}
        self._by_initiation: dict[tuple[int, bytes], Connection] = {}
        #: Half-open connections, oldest first, and all others. Apart, because a flood of the first kind
        #: must not make every look at the timers a walk over all of them: they fall due in order.
        self._half_open: dict[bytes, Connection] = {}
        self._timed: dict[bytes, Connection] = {}
        self._expected: dict[int, deque[Configuration]] = {}
        self._work: deque[Connection] = deque()
        self._replies: deque[tuple[SocketAddress, bytes]] = deque()
        self._reporting: deque[Connection] = deque()

    # -- what the world did

    def receive(self, burst: Burst, *, now: Instant) -> None:
        """Take the datagrams of one burst."""
        buffer, size = burst.buffer, burst.segment_size
        position, length = 0, len(buffer)
        while position < length:
            connection = self._connection_at(buffer, position)
            if connection is None:
                self._receive_setup(buffer[position : position + size], burst.source, now)
                position += size
                continue
            end = position + size
            prefix = buffer[position : position + 9]
            while end < length and buffer[end : end + 9] == prefix:
                end += size
            arena = burst.arena if position == 0 else None
            connection.receive(buffer[position : min(end, length)], size, now=now, arena=arena)
            self._report(connection)
            position = end

    def handle_timeout(self, *, now: Instant) -> None:
        """Do what is due at all connections."""
        expired = takewhile(lambda c: _is_due(c, now), self._half_open.values())
        for connection in [*expired, *(c for c in self._timed.values() if _is_due(c, now))]:
            connection.handle_timeout(now=now)
            self._wake(connection)
            self._report(connection)
            if connection.state is ConnectionState.CLOSED:
                self._forget(connection)
        if self._sealed is not None:
            self._sealed.handle_timeout(now=now)

    # -- what the caller wants

    def connect(self, peer: Peer, *, configuration: Configuration | None = None, now: Instant) -> Connection:
        """Begin a connection; ``ConnectionEstablished`` or ``ConnectionClosed`` follows.

        Raises:
            LocalProtocolError: the peer is this node, or there are too many connections.
        """
        if peer.address == self.identity.address:
            raise LocalProtocolError("a node cannot connect to itself")
        if len(self._by_id) >= MAX_CONNECTIONS:
            raise LocalProtocolError(f"{MAX_CONNECTIONS} connections are the most")
        chosen = configuration or self.configuration
        connection = self._new(chosen, peer.socket_address, initiator=True, now=now)
        connection.peer_address = peer.address
        if connection.observer is not None:
            connection.observer.started()
        half = _Half(first_sent=now)
        half.initiator = Initiator(self.identity, peer, chosen, connection.connection_id, self._rng)
        self._half[connection.connection_id] = half
        connection.timers.set(Timer.INITIATION, now)
        return connection

    def expect(self, peer_address: int, configuration: Configuration) -> None:
        """Take the next connection from this peer with a configuration of its own, first come first served.

        Windows and delays are each end's own, so a responder must know what is wanted of it.
        """
        waiting = self._expected.setdefault(peer_address, deque())
        if len(waiting) >= MAX_EXPECTED:
            raise LocalProtocolError(f"{MAX_EXPECTED} connections from one peer are awaited already")
        waiting.append(configuration)

    def expect_no_more(self, peer_address: int, configuration: Configuration) -> None:
        """Take back one ``expect``, if its connection has not come."""
        waiting = self._expected.get(peer_address, deque())
        if configuration in waiting:
            waiting.remove(configuration)

    def send_datagram(self, peer: Peer, data: bytes | bytearray | memoryview) -> None:
        """Send a connectionless datagram: sealed, at most once, and nothing tells whether it arrives.

        Raises:
            LocalProtocolError: it is too long, too many wait already, or this endpoint has none (SPEC 14).
        """
        if self._sealed is None:
            raise LocalProtocolError("this endpoint was made without connectionless datagrams")
        self._sealed.send(peer, bytes(data))

    def close(self, *, now: Instant) -> None:
        """Close all connections."""
        for connection in list(self._by_id.values()):
            connection.close(now=now)
            self._report(connection)

    # -- what to do now

    def transmit(self, *, now: Instant) -> Transmit | None:
        """Return the next burst to send, or None; its buffer is reused by the next call."""
        if self._replies:
            destination, packet = self._replies.popleft()
            return Transmit(destination, memoryview(packet), len(packet))
        if self._sealed is not None and (packets := self._sealed.transmit(self._arena)) is not None:
            return packets
        while self._work:
            connection = self._work[0]
            if connection.state is ConnectionState.INITIATING:
                found = self._initiation(connection, now)
            else:
                found = connection.transmit(now=now)
            self._report(connection)
            if found is not None:
                self._work.rotate(-1)  # connections take turns, a burst each
                return found
            connection.queued = False
            self._work.popleft()
            self._sort(connection)
        return None

    def next_event(self) -> tuple[Connection, Event] | None:
        """Return the next event and its connection, or None."""
        while self._reporting:
            connection = self._reporting[0]
            if connection.events:
                return connection, connection.events.popleft()
            self._reporting.popleft()
        return None

    def next_datagram(self) -> DatagramReceived | None:
        """Return the next connectionless datagram that came, or None."""
        return self._sealed.next_datagram() if self._sealed is not None else None

    def next_timeout(self) -> Instant | None:
        """Return when ``handle_timeout`` is to be called at the latest."""
        watched = chain(islice(self._half_open.values(), 1), self._timed.values())
        sealed = self._sealed.next_timeout() if self._sealed is not None else None
        return earliest(sealed, *[connection.next_timeout() for connection in watched])

    @property
    def connections(self) -> tuple[Connection, ...]:
        """All connections that are not forgotten yet."""
        return tuple(self._by_id.values())

    # -- set-up

    def _receive_setup(self, datagram: memoryview, source: SocketAddress, now: Instant) -> None:
        if not datagram:
            return  # SPEC 1-3
        if datagram[0] == SEALED and self._sealed is not None:
            dropped = self._sealed.receive(datagram, now=now)
            if dropped is not None:
                self.drops.add(dropped)
            return
        if datagram[0] not in (INITIATION, RESPONSE):
            # SPEC 2-3: what is of a connection of ours does not come here.
            self.drops.add("unknown connection ID" if is_data(datagram[0]) else "unknown packet type")
            return
        packet = parse_setup(datagram)
        if isinstance(packet, str):
            self.drops.add(packet)
        elif packet.target_address != self.identity.address:
            self.drops.add("for another node")  # SPEC 2-2
        elif packet.kind == INITIATION:
            self._take_initiation(packet, source, now)
        else:
            self._take_response(packet, now)

    def _take_initiation(self, packet: SetupPacket, source: SocketAddress, now: Instant) -> None:
        key = (packet.source_address, packet.source_connection_id)
        known = self._by_initiation.get(key)
        if known is None:
            known = self._accept(packet, source, now)
            if known is None:
                return
            self._by_initiation[key] = known
        elif known.remote != source:
            return  # SPEC 3-6
        if known.observer is not None:
            known.observer.setup_received("initiation", packet.packet_number, now)
        half = self._half[known.connection_id]
        if half.accepted is None or len(self._replies) >= MAX_REPLIES:
            return
        # SPEC 3-3: one RESPONSE for each INITIATION; only a single one gives an RTT sample.
        known.timers.responded_at = now if half.responses == 0 else None
        if known.observer is not None:
            known.observer.setup_sent("response", half.responses, now)
        self._replies.append((source, response_packet(self.identity, half.accepted, half.responses)))
        half.responses += 1

    def _accept(self, packet: SetupPacket, source: SocketAddress, now: Instant) -> Connection | None:
        if len(self._half_open) >= MAX_HALF_OPEN:
            self._make_room()
        if len(self._by_id) >= MAX_CONNECTIONS:
            self.drops.add("too many connections")
            return None
        connection_id = new_connection_id(self._rng)
        waiting = self._expected.get(packet.source_address)
        configuration = waiting[0] if waiting else self.configuration
        accepted = answer(packet, self.identity, configuration, connection_id, self._rng)
        if isinstance(accepted, str):
            self.drops.add(accepted)
            return None
        connection = self._new(
            configuration, source, initiator=False, now=now, connection_id=connection_id,
            traced_as=packet.source_connection_id,
        )  # fmt: skip
        connection.peer_address = accepted.peer_address
        if connection.observer is not None:
            connection.observer.started()
        if waiting:
            waiting.popleft()
        connection.start(accepted.ours, accepted.peer, accepted.keys)
        self._half[connection_id] = _Half(accepted=accepted)
        self._log_keys(accepted.peer, accepted.ours, accepted.keys)
        return connection

    def _take_response(self, packet: SetupPacket, now: Instant) -> None:
        connection = self._by_id.get(packet.target_connection_id)
        half = self._half.get(packet.target_connection_id)
        if connection is None or half is None or half.initiator is None:
            self.drops.add("unknown connection ID")
            return
        if connection.state is not ConnectionState.INITIATING:
            return  # a repeated RESPONSE
        found = half.initiator.take_response(packet)
        if isinstance(found, str):
            self.drops.add(found)
            return
        parameters, keys = found
        if connection.observer is not None:
            connection.observer.setup_received("response", packet.packet_number, now)
        ours = TransportParameters.of(connection.configuration, connection.connection_id)
        connection.start(ours, parameters, keys)
        self._log_keys(ours, parameters, keys)
        rtt = max(1, now - half.first_sent) if half.initiator.packets_sent == 1 else None
        connection.establish(rtt=rtt, now=now)
        del self._half[connection.connection_id]
        self._report(connection)

    def _initiation(self, connection: Connection, now: Instant) -> Transmit | None:
        """Return the INITIATION of a connection, if it is time for one."""
        if Timer.INITIATION not in connection.timers.due(now):
            return None
        half = self._half[connection.connection_id]
        assert half.initiator is not None
        connection.timers.set(Timer.INITIATION, now + half.timeout)
        half.timeout = min(half.timeout * 2, MAX_PROBE_INTERVAL)
        if connection.observer is not None:
            connection.observer.setup_sent("initiation", half.initiator.packets_sent, now)
        return Transmit(connection.remote, memoryview(half.initiator.packet()), SETUP_PACKET_BYTES)

    def _log_keys(self, initiator: TransportParameters, responder: TransportParameters, keys: Keys) -> None:
        if self._key_log is None:
            return
        ids = f"{initiator.connection_id.hex()} {responder.connection_id.hex()}"
        pair = f"{keys.initiator_to_responder.hex()} {keys.responder_to_initiator.hex()}"
        # SPEC 11-1, 11-2
        self._key_log(f"STRAIT_DATA {ids} {initiator.integrity} {pair}")
        windows = (
            f"{initiator.initial_max_data} {initiator.initial_max_stream_data} "
            f"{responder.initial_max_data} {responder.initial_max_stream_data}"
        )
        self._key_log(f"STRAIT_WINDOWS {ids} {windows}")

    # -- helpers

    def _connection_at(self, buffer: memoryview, position: int) -> Connection | None:
        if not is_data(buffer[position]):
            return None
        return self._by_id.get(bytes(buffer[position + 1 : position + 9]))

    def _new(
        self, configuration: Configuration, remote: SocketAddress, *, initiator: bool, now: Instant,
        connection_id: bytes | None = None, traced_as: bytes | None = None,
    ) -> Connection:  # fmt: skip
        connection_id = connection_id or new_connection_id(self._rng)
        tracer = None
        if self._tracer_of is not None:
            tracer = self._tracer_of(traced_as or connection_id, initiator)
        connection = Connection(
            initiator=initiator, configuration=configuration, remote=remote, arena=self._arena,
            connection_id=connection_id, on_work=self._wake, now=now, tracer=tracer,
        )  # fmt: skip
        self._by_id[connection.connection_id] = connection
        (self._timed if initiator else self._half_open)[connection.connection_id] = connection
        self._wake(connection)
        return connection

    def _wake(self, connection: Connection) -> None:
        if not connection.queued:
            connection.queued = True
            self._work.append(connection)

    def _report(self, connection: Connection) -> None:
        if connection.events and connection not in self._reporting:
            self._reporting.append(connection)

    def _sort(self, connection: Connection) -> None:
        """Put a connection among the others once it is half-open no more."""
        key = connection.connection_id
        if key in self._half_open and connection.state is not ConnectionState.RESPONDING:
            self._timed[key] = self._half_open.pop(key)

    def _make_room(self) -> None:
        """Forget the oldest half-open connection, unless it was confirmed a moment ago."""
        oldest = next(iter(self._half_open.values()))
        self._sort(oldest)
        if oldest.connection_id in self._half_open:
            self.drops.add("half-open for too long")
            self._forget(oldest)

    def _forget(self, connection: Connection) -> None:
        self._by_id.pop(connection.connection_id, None)
        self._half_open.pop(connection.connection_id, None)
        self._timed.pop(connection.connection_id, None)
        half = self._half.pop(connection.connection_id, None)
        if half is not None and half.accepted is not None:
            peer = half.accepted
            self._by_initiation.pop((peer.peer_address, peer.peer.connection_id), None)


def _is_due(connection: Connection, now: Instant) -> bool:
    deadline = connection.next_timeout()
    return deadline is not None and deadline <= now
