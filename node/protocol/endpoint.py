"""One socket, many connections: demultiplexing and the life of connections (SPEC 1-2, 2, 3)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from random import Random

from node.protocol.arena import Arena
from node.protocol.attempts import Attempts
from node.protocol.configuration import MAX_HALF_OPEN, Configuration
from node.protocol.connection import Connection
from node.protocol.connection_table import ConnectionTable
from node.protocol.datagrams import Burst, SocketAddress, Transmit
from node.protocol.drops import Drops
from node.protocol.errors import ErrorCode, LocalProtocolError
from node.protocol.events import DatagramReceived, Event
from node.protocol.handshake import new_connection_id
from node.protocol.identity import Identity, Peer
from node.protocol.recovery.remembered import PathMemory
from node.protocol.sealed.service import SealedService, SealedSettings
from node.protocol.setting_up import SettingUp
from node.protocol.start import prepare
from node.protocol.stateless_reset import STATELESS_RESET, StatelessResets
from node.protocol.states import ConnectionState
from node.protocol.streams.flow_control import WindowBudget
from node.protocol.time import Instant
from node.protocol.trace import NO_CONNECTION, TracerOf
from node.protocol.wire.data import DATA, EARLY, PHASE_BIT, is_data
from node.protocol.wire.sealed import SEALED
from node.protocol.wire.setup import SETUP_KINDS

#: Connections that one endpoint keeps; more INITIATIONs are dropped.
MAX_CONNECTIONS = 4096
#: SPEC 6.3-4: bytes by which the windows of all connections may grow: five of the widest by default.
MAX_GROWN_WINDOWS = 512 << 20


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
        self.drops = Drops(None if tracer_of is None else tracer_of(NO_CONNECTION, False))
        self._rng = rng
        self._resets = StatelessResets(identity)
        self._windows = WindowBudget(MAX_GROWN_WINDOWS)
        self._sealed = None if sealed is None else SealedService(identity, sealed, rng=rng, key_log=key_log)
        self._process = None if sealed is None else sealed.process
        self._owner = 0 if sealed is None else sealed.process()
        self._tracer_of = tracer_of
        self._arena = Arena()
        self._table = ConnectionTable(rng, self._resets, identity.reset_token)
        self._by_id = self._table.by_id
        #: Half-open connections, oldest first, and all others. Apart, because a flood of the first kind
        #: must not make every look at the timers a walk over all of them: they fall due in order.
        self._half_open: dict[bytes, Connection] = {}
        self._timed: dict[bytes, Connection] = {}
        self._work: deque[Connection] = deque()
        self._reporting: deque[Connection] = deque()
        self._paths = PathMemory()
        self._attempts = Attempts()
        self._setting_up = SettingUp(self, self._attempts, rng, key_log)
        prepare(configuration)

    # -- what the world did

    def receive(self, burst: Burst, *, now: Instant) -> None:
        """Take the datagrams of one burst (SPEC 1-3: one of no bytes is none)."""
        buffer, size = burst.buffer, burst.segment_size
        position, length = 0, len(buffer)
        while position < length:
            prefix = buffer[position : position + 9]
            connection = None
            if prefix[0] & ~PHASE_BIT == DATA:  # is_data, without a call
                connection = self._by_id.get(bytes(prefix[1:]))
            if connection is None or connection.parameters is None:  # nobody's, or it has no keys yet
                self._receive_other(buffer[position : position + size], burst.source, burst.ecn, now)
                position += size
                continue
            end = position + size
            while end < length and buffer[end : end + 9] == prefix:
                end += size
            arena = burst.arena if position == 0 else None
            packets = buffer[position : min(end, length)]
            connection.receive(packets, size, source=burst.source, now=now, arena=arena, ecn=burst.ecn)
            if connection.events:
                self.report(connection)
            position = end

    def handle_timeout(self, *, now: Instant) -> None:
        """Do what is due at all connections."""
        expired: list[Connection] = []
        for connection in self._half_open.values():
            if (deadline := connection.deadline()) is None or deadline > now:
                break
            expired.append(connection)
        timed = self._timed.values()
        expired += [c for c in timed if (deadline := c.deadline()) is not None and deadline <= now]
        for connection in expired:
            connection.handle_timeout(now=now)
            self.wake(connection)
            self.report(connection)
            if connection.state is ConnectionState.CLOSED:
                self._forget(connection)
        if self._sealed is not None:
            self._sealed.handle_timeout(now=now)

    # -- what the caller wants

    def connect(self, peer: Peer, *, configuration: Configuration | None = None, now: Instant) -> Connection:
        """Begin a connection; ``ConnectionEstablished`` or ``ConnectionClosed`` follows.

        Raises:
            LocalProtocolError: the peer is this node, the handshake needs its key, or there are too many
                connections.
        """
        if peer.address == self.identity.address:
            raise LocalProtocolError("a node cannot connect to itself")
        if self._count >= MAX_CONNECTIONS:
            raise LocalProtocolError(f"{MAX_CONNECTIONS} connections are the most")
        chosen = configuration or self.configuration
        if not peer.public_key and chosen.handshake != "xx":
            raise LocalProtocolError(f"handshake: {chosen.handshake} needs the peer's key, use xx without it")
        connection = self.add_connection(chosen, peer.socket_address, initiator=True, now=now)
        connection.peer_address = peer.address
        if connection.observer is not None:
            connection.observer.started()
        self._setting_up.begin(connection, peer, now=now)
        return connection

    def expect(self, peer_address: int, configuration: Configuration) -> None:
        """Take the next connection from this peer with a configuration of its own, first come first served.

        Windows and delays are each end's own, so a responder must know what is wanted of it.
        """
        self._attempts.expect(peer_address, configuration)

    def expect_no_more(self, peer_address: int, configuration: Configuration) -> None:
        """Take back one ``expect``, if its connection has not come, or came and was not confirmed."""
        self._attempts.expect_no_more(peer_address, configuration)

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
        for connection in self._table.connections:
            connection.close(now=now)
            self.report(connection)

    # -- what to do now

    def transmit(self, *, now: Instant) -> Transmit | None:
        """Return the next burst to send, or None; its buffer is reused by the next call."""
        if self._process is not None and self._process() != self._owner:
            self._leave_to_the_original()
        if self._setting_up.replies:
            return self._setting_up.reply()
        if self._resets.replies:
            return self._resets.reply()
        if self._sealed is not None and (packets := self._sealed.transmit(self._arena)) is not None:
            self.drops.sealed_sent(packets, now)
            return packets
        work = self._work
        while work:
            connection = work[0]
            connection.deadline_known = False
            found = self._setting_up.transmit(connection, now=now) if connection.setting_up else None
            drained = False
            if found is None:
                found = connection.transmit(now=now)
                drained = found is None or (connection.drained and not connection.setting_up)
            if connection.events:
                self.report(connection)
            if not drained:
                work.rotate(-1)  # connections take turns, a burst each
                return found
            connection.queued = False
            work.popleft()
            if self._half_open:
                self._sort(connection)
            if found is not None:
                return found
        return None

    def next_event(self) -> tuple[Connection, Event] | None:
        """Return the next event and its connection, or None."""
        while self._reporting:
            connection = self._reporting[0]
            if connection.events:
                return connection, connection.events.popleft()
            self._reporting.popleft()
            connection.reporting = False
        return None

    def duplicates_of(self, peer: Peer) -> int:
        """Return how many packets with a peer's connectionless datagrams came once more, and were dropped."""
        return self._sealed.duplicates_of(peer.address) if self._sealed is not None else 0

    def next_datagram(self) -> DatagramReceived | None:
        """Return the next connectionless datagram that came, or None."""
        return self._sealed.next_datagram() if self._sealed is not None else None

    def next_timeout(self) -> Instant | None:
        """Return when ``handle_timeout`` is to be called at the latest."""
        found = self._sealed.next_timeout() if self._sealed is not None else None
        for connections in (self._timed.values(), islice(self._half_open.values(), 1)):
            for connection in connections:
                due = connection.deadline()
                if due is not None and (found is None or due < found):
                    found = due
        return found

    @property
    def connections(self) -> tuple[Connection, ...]:
        """All connections that are not forgotten yet."""
        return tuple(self._table.connections)

    def _leave_to_the_original(self) -> None:
        """SPEC 3-8: this is a copy (``fork``), and what it sealed would use nonces a second time."""
        assert self._process is not None
        self._owner = self._process()
        for connection in self.connections:
            connection.life.abandon("its endpoint was copied to another process")
            connection.queued = False
            self._forget(connection)
            self.report(connection)
        self._work.clear()

    # -- for the handshakes

    @property
    def half_open(self) -> int:
        """How many connections peers began and did not confirm."""
        return len(self._half_open)

    def make_room(self) -> bool:
        """Make room for one more half-open connection; False: there are too many of the others."""
        if len(self._half_open) >= MAX_HALF_OPEN:
            self._drop_oldest_half_open()
        return self._count < MAX_CONNECTIONS

    def add_connection(
        self, configuration: Configuration, remote: SocketAddress, *, initiator: bool, now: Instant,
        connection_id: bytes | None = None, traced_as: bytes | None = None,
    ) -> Connection:  # fmt: skip
        """Make a connection and keep it; ``traced_as``: the initiator's connection ID."""
        connection_id = connection_id or new_connection_id(self._rng)
        tracer = None
        if self._tracer_of is not None:
            tracer = self._tracer_of(traced_as or connection_id, initiator)
        connection = Connection(
            initiator=initiator, configuration=configuration, remote=remote, arena=self._arena,
            connection_id=connection_id, table=self._table, on_work=self.wake, now=now, tracer=tracer,
            budget=self._windows,
        )  # fmt: skip
        connection.rng = self._rng
        self._by_id[connection.connection_id] = connection
        (self._timed if initiator else self._half_open)[connection.connection_id] = connection
        self.wake(connection)
        return connection

    @property
    def _count(self) -> int:
        return len(self._timed) + len(self._half_open)

    def connection_of(self, connection_id: bytes) -> Connection | None:
        """Return the connection that has this ID."""
        return self._by_id.get(connection_id)

    def wake(self, connection: Connection) -> None:
        """Note that a connection may have something to send, and may have another deadline."""
        connection.deadline_known = False
        if not connection.queued:
            connection.queued = True
            self._work.append(connection)

    def report(self, connection: Connection) -> None:
        """Note that a connection may have events."""
        if not connection.events:
            return
        if connection.configuration.remember_path:
            self._paths.look(connection)
        if not connection.reporting:
            connection.reporting = True
            self._reporting.append(connection)

    # -- helpers

    def _receive_other(self, datagram: memoryview, source: SocketAddress, ecn: int, now: Instant) -> None:
        """Take a datagram that is for none of our connections."""
        self.drops.take(len(datagram), now)
        kind = datagram[0]
        if kind in SETUP_KINDS:
            self._setting_up.receive(datagram, source, now=now)
        elif kind == EARLY:
            self._setting_up.receive_early(datagram, source=source, ecn=ecn, now=now)
        elif kind == SEALED and self._sealed is not None:
            dropped = self._sealed.receive(datagram, now=now)
            if dropped is not None:
                self.drops.add(dropped)
            else:
                self.drops.sealed_taken(datagram)
        elif kind == STATELESS_RESET:
            self._take_reset(datagram, now)
        elif not is_data(kind):
            self.drops.add("unknown packet type")
        elif bytes(datagram[1:9]) in self._by_id:
            self.drops.add("DATA before the handshake was through")  # SPEC 3.1-5
        else:
            self.drops.add("unknown connection ID")  # SPEC 2-3
            self._resets.answer(datagram, source, now=now)

    def _take_reset(self, datagram: memoryview, now: Instant) -> None:
        connection = self._resets.find(datagram)
        if connection is None:
            self.drops.add("STATELESS_RESET of no connection")
            return
        connection.on_stateless_reset(now=now)
        self.report(connection)

    def _sort(self, connection: Connection) -> None:
        """Put a connection among the others once it is half-open no more."""
        key = connection.connection_id
        if key in self._half_open and connection.state is not ConnectionState.RESPONDING:
            self._timed[key] = self._half_open.pop(key)
            for other in self._attempts.confirm(connection):  # SPEC 3-9
                self._give_up(other, "the initiator went on with another handshake")

    def _drop_oldest_half_open(self) -> None:
        """Forget the oldest half-open connection, unless it was confirmed a moment ago."""
        oldest = next(iter(self._half_open.values()))
        self._sort(oldest)
        if oldest.connection_id in self._half_open:
            self.drops.count("half-open for too long")
            self._give_up(oldest, "too many half-open connections")

    def _give_up(self, half_open: Connection, reason: str) -> None:
        """End a half-open connection; its application knows of it if early data came (SPEC 15-6)."""
        half_open.life.give_up(ErrorCode.HANDSHAKE_TIMEOUT, reason)
        self.report(half_open)
        self._forget(half_open)

    def _forget(self, connection: Connection) -> None:
        for value in connection.paths.issued.values:
            self._table.drop(value)
        self._half_open.pop(connection.connection_id, None)
        self._timed.pop(connection.connection_id, None)
        self._resets.forget(connection)
        self._windows.give_back(connection.credit.window.grown)
        self._setting_up.forget(connection)
