"""A connection: the order of work, and who is asked what. The algorithms are elsewhere.

Contract, as for everything in the core: one mutation (``receive``, ``handle_timeout``, or a call
of the application), then drain ``transmit`` and the events, then read ``next_timeout``. ``now``
never goes back; equal is fine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from node.protocol.arena import Arena
from node.protocol.arq.base import ArqMode
from node.protocol.configuration import Configuration
from node.protocol.connection_table import ConnectionTable
from node.protocol.datagrams import SocketAddress, Transmit
from node.protocol.early_data import EarlyData
from node.protocol.errors import ErrorCode, RemoteProtocolError, check_code
from node.protocol.events import ConnectionEstablished, Event
from node.protocol.frame_handlers import HANDLERS
from node.protocol.key_phases import KeyPhases
from node.protocol.key_update import forget_old_keys, open_other, update_keys, update_keys_if_due
from node.protocol.life import Life
from node.protocol.limits import Limits
from node.protocol.messages import Messages
from node.protocol.observer import Observer
from node.protocol.packet_builder import PacketBuilder
from node.protocol.packet_receiver import PacketReceiver
from node.protocol.paths import Paths
from node.protocol.recovery.acknowledgements import Acknowledgements
from node.protocol.recovery.manager import Recovery
from node.protocol.recovery.rtt import INITIAL_RTT
from node.protocol.recovery.sent_packets import SentBurst
from node.protocol.snapshot import snapshot, windows
from node.protocol.states import ACTIVE, OVER, ConnectionState
from node.protocol.statistics import Statistics, Windows
from node.protocol.stream_calls import StreamCalls
from node.protocol.streams.flow_control import ConnectionCredit, WindowBudget
from node.protocol.streams.table import StreamTable
from node.protocol.time import Duration, Instant
from node.protocol.timers import earliest
from node.protocol.trace import Tracer
from node.protocol.wire.data import DATA
from node.protocol.wire.frames import (
    Ack,
    NewTicket,
    Ping,
)
from node.protocol.wire.packet_number import MAX_PACKET_NUMBER
from node.protocol.wire.parameters import TransportParameters
from node.protocol.wire.protection import PacketProtection

if TYPE_CHECKING:
    from node.protocol.repair.fec import Fec

#: SPEC 4-3: with a number above this the connection ends, while there are some left to say so with.
LAST_NUMBERS = MAX_PACKET_NUMBER - (1 << 10)


class Connection(StreamCalls):
    """One connection. Made by ``Endpoint.connect`` or by a peer's INITIATION.

    Args:
        table: finds this connection by its IDs.
        on_work: called when there may be something to transmit.
        budget: what the window grows into, shared with the endpoint's other connections (SPEC 6.3-4).
        tracer: told what happens; None: nobody is.
    """

    protection: PacketProtection
    is_authenticated: bool
    #: None in the profiles without keys.
    keys: KeyPhases | None
    #: The endpoint's chance, which peers do not know.
    rng: Random
    arq: ArqMode
    acks: Acknowledgements
    recovery: Recovery
    streams: StreamTable

    def __init__(
        self, *, initiator: bool, configuration: Configuration, connection_id: bytes,
        remote: SocketAddress, arena: Arena, table: ConnectionTable,
        on_work: Callable[[Connection], None], now: Instant, budget: WindowBudget | None = None,
        tracer: Tracer | None = None,
    ) -> None:  # fmt: skip
        self.initiator = initiator
        self.configuration = configuration
        self.connection_id = connection_id
        self.events: deque[Event] = deque()
        self.life = Life(initiator=initiator, configuration=configuration, events=self.events, now=now)
        self.timers = self.life.timers
        #: Who is told what happens; None: nobody, and it costs nothing.
        self.observer = Observer(self, tracer, now) if tracer is not None else None
        self.life.observer = self.observer
        #: When something happened last: a read comes without the time, and windows grow by it.
        self.now = now
        self.peer_address = 0
        self.parameters: TransportParameters | None = None
        #: Of the endpoint: whether it is among those that may have to send, or among those with events.
        self.queued = self.reporting = False
        #: Whether the last ``transmit`` gave out all there was to send.
        self.drained = False
        #: Whether nothing happened since ``deadline`` was asked for.
        self.deadline_known = False
        self._deadline: Instant | None = None
        #: The type of DATA packets of the peer's current key phase.
        self.receive_kind = DATA
        #: Whether set-up packets of ours may be due: INITIATION, COMPLETION.
        self.setting_up = False
        #: Early data of this connection, if there is any; what frames do: less in EARLY packets.
        self.early: EarlyData | None = None
        self.handlers = HANDLERS
        #: At the responder: makes the ticket to give; at the initiator: keeps the one that was given.
        self.give_ticket: Callable[[Instant], NewTicket] | None = None
        self.keep_ticket: Callable[[NewTicket, Instant], None] | None = None
        #: There may be something to transmit.
        self.wake = partial(on_work, self)
        self.builder = PacketBuilder(self, arena)
        self.receiver = PacketReceiver(self)
        self.messages = Messages(self)
        self.fec: Fec | None = None
        self.paths = Paths(self, remote, table)
        self.credit = ConnectionCredit(
            configuration.first_connection_window, configuration.connection_window, budget
        )
        self.limits = Limits(now, self.observer)
        self.stream_bytes_acked = 0
        self.packets_sent = self.bytes_sent = 0

    # -- what the world did

    def establish(self, *, rtt: Duration | None, ping: bool, now: Instant) -> None:
        """The handshake is done and took ``rtt``, where that is sure; ``ping``: the peer waits for a sign."""
        self.life.establish(now=now)
        if rtt is not None:
            self.recovery.take_handshake_sample(rtt, now=now)
            self.begin_windows(rtt)
        if ping:
            self.builder.control.append(Ping())
            self.builder.confirms = self.initiator
        self.paths.ids_due = True
        if self.give_ticket is not None:
            self.builder.control.append(self.give_ticket(now))
        taken = self.early is not None and self.early.accepted
        self.events.append(ConnectionEstablished(self.peer_address, self.initiator, taken))
        self.wake()

    def receive(
        self, packets: memoryview, size: int, *, source: SocketAddress, now: Instant,
        arena: Arena | None = None, ecn: int = 0,
    ) -> None:  # fmt: skip
        """Take DATA packets of ``size`` bytes with an ID of ours (the rest is as in Burst)."""
        self.now = now
        if self.observer is not None:
            self.observer.handed_in(len(packets), size, ecn, now)
        state = self.life.state
        if state in ACTIVE:
            paths, receiver = self.paths, self.receiver
            paths.source = source
            newest, taken = receiver.newest, receiver.bytes
            try:
                receiver.receive(packets, size, now=now, arena=arena, ecn=ecn)
                if (source != paths.active.remote or not paths.active.validated) and receiver.bytes > taken:
                    our_id, moved = bytes(packets[1:9]), receiver.newest > newest
                    paths.on_burst(source, our_id, size=receiver.bytes - taken, newest=moved, now=now)
            except RemoteProtocolError as error:
                self._end_with(error.code, error.reason, now=now)
        elif state is ConnectionState.CLOSING:
            self.life.on_packet_while_closing()
        self.wake()

    def on_authentic(self, now: Instant, *, is_next: bool) -> None:
        """A packet of the peer has passed its integrity check; ``is_next``: its number is the one expected.

        Before any other number packets are missing: the peer may have waited for a time-out to send this one.
        """
        if self.early is not None and self.early.is_reading:
            return
        if self.life.state is ConnectionState.RESPONDING:
            sent = self.timers.responded_at
            rtt = None if sent is None else max(1, now - sent)
            if rtt is not None and rtt > INITIAL_RTT and not is_next:
                rtt = None
            self.establish(rtt=rtt, ping=False, now=now)
        self.life.on_authentic(now)

    def handle_timeout(self, *, now: Instant) -> None:
        """Do what is due."""
        if self.observer is not None:
            self.observer.now = now
        self.now = now
        if self.life.handle_timeout(now=now):
            return
        if self.state is ConnectionState.ESTABLISHED:
            if self.life.needs_sign(now=now):
                self.builder.control.append(Ping())
            forget_old_keys(self, now=now)
            self.messages.expire(now=now)
            self.paths.handle_timeout(now=now)
        if self.state is ConnectionState.ESTABLISHED:
            deadline = self.recovery.next_timeout()
            if deadline is not None and deadline <= now:
                self.recovery.on_timeout(now=now)
                self.paths.on_probe_timeout(self.recovery.pto_count)
            if self.fec is not None:
                self.fec.handle_timeout(now=now)
        self.wake()

    # -- what the caller wants

    def update_keys(self) -> None:
        """Seal with new keys from the next packet on; the peer follows (SPEC 4.2).

        Raises:
            LocalProtocolError: not established, no keys in this profile, or the present ones are not
                acknowledged yet.
        """
        self.need_open()
        update_keys(self)

    def migrate(self, *, now: Instant) -> None:
        """Go on from another local address: to be called when the driver has changed to it (SPEC 13.3).

        Raises:
            LocalProtocolError: not established, or the peer has given no connection ID for another path yet.
        """
        self.need_open()
        self.paths.migrate(now=now)
        self.wake()

    def close(self, code: int = 0, reason: str = "", *, now: Instant) -> None:
        """End the connection for both sides at once (SPEC 9-3). Closing twice does nothing."""
        check_code(code)
        if self.state not in OVER:
            self._end_with(code, reason, now=now)

    # -- what to do now

    def transmit(self, *, now: Instant) -> Transmit | None:
        """Return the next datagrams to send, or None."""
        life, found = self.life, None
        self.drained = False
        if life.state is ConnectionState.ESTABLISHED or self._sends_early:
            number, keys = self.recovery.next_packet_number, self.keys
            if number > LAST_NUMBERS:
                self._end_with(ErrorCode.PACKET_NUMBERS_EXHAUSTED, "", now=now)  # SPEC 4-3
            elif keys is not None and (number >= keys.due_number or now >= keys.due_at):
                try:
                    update_keys_if_due(self, now=now)
                except RemoteProtocolError as error:
                    self._end_with(error.code, error.reason, now=now)
        if life.close_pending:
            life.close_pending = False
            code, reason = life.close_reply
            found = self.builder.close(code, reason, now=now)
        elif life.state is ConnectionState.ESTABLISHED or self._sends_early:
            builder, limits = self.builder, self.limits
            found = builder.next_burst(now=now)
            self.drained = found is None or builder.has_nothing_more()
            if self.drained and life.state is ConnectionState.ESTABLISHED:
                wait = builder.limited_by, builder.paced_until, self.recovery.open_packets > 0
                if wait != limits.wait:
                    limits.drained(wait, now=now)
        if found is not None and self.observer is not None:
            self.observer.handed_out(found, now)
        return found

    def next_timeout(self) -> Instant | None:
        """Return when ``handle_timeout`` is to be called at the latest."""
        paced, paths = self.builder.paced_until, self.paths
        if self.life.state is not ConnectionState.ESTABLISHED:
            return earliest(self.timers.next(), paced if self._sends_early else None)
        if not paths.active.validated and paths.blocked:
            return earliest(self.timers.next(), paths.deadline)
        return earliest(
            self.timers.next(),
            paths.deadline,
            self.messages.next_deadline() if self.messages.deadlines else None,
            self.recovery.next_timeout(),
            self.acks.deadline,
            paced,
            self.fec.next_timeout() if self.fec is not None else None,
        )

    def deadline(self) -> Instant | None:
        """Return what ``next_timeout`` does, found anew only if something happened since.

        All that happens comes with ``wake`` or ``transmit``, and there it is noted.
        """
        if not self.deadline_known:
            self._deadline, self.deadline_known = self.next_timeout(), True
        return self._deadline

    # -- properties

    @property
    def state(self) -> ConnectionState:
        """Where the connection is in its life."""
        return self.life.state

    @property
    def remote(self) -> SocketAddress:
        """Where the peer is."""
        return self.paths.active.remote

    @property
    def closed(self) -> bool:
        """Whether the connection is over for the application."""
        return self.life.state in OVER

    def statistics(self) -> Statistics:
        """Return a snapshot of counters and estimates."""
        return snapshot(self)

    def rtt_quantiles(self, ranks: Iterable[tuple[str, int]]) -> dict[str, Duration]:
        """Return quantiles of the round trips measured, by name, in ns (``RttEstimator.quantiles``)."""
        return self.recovery.rtt.quantiles(ranks) if self.parameters is not None else {}

    def windows(self, stream_id: int) -> Windows:
        """Return S and R of a stream that we send on (SPEC 6.1)."""
        return windows(self, self.streams.sender(stream_id))

    # -- for the parts of the connection

    def open_other(self, number: int, packet: memoryview, now: Instant) -> bool:
        """Open a packet whose type is not ``receive_kind``."""
        return open_other(self, number, packet, now=now)

    def on_sent(self, record: SentBurst, fresh: int, ack: Ack | None = None) -> None:
        """Note a burst that goes out; ``ack``: what it acknowledges."""
        self.packets_sent += record.count
        self.bytes_sent += record.total
        if fresh:
            self.credit.on_sent(fresh)
        self.recovery.on_sent(record)
        if self.observer is not None:
            self.observer.sent(record, ack)
        if record.eliciting:
            self.life.on_eliciting_sent(record.time_sent)

    def on_stateless_reset(self, *, now: Instant) -> None:
        """The peer does not know this connection any more (SPEC 4.3-5)."""
        if self.observer is not None:
            self.observer.now = now
        if self.state is ConnectionState.ESTABLISHED:
            self.peer_closed(ErrorCode.STATELESS_RESET, "the peer has forgotten the connection", now)
            self.wake()

    def peer_closed(self, code: int, reason: str, now: Instant) -> None:
        """The peer sent CLOSE."""
        self.life.peer_closed(code, reason, probe_timeout=self.recovery.probe_timeout, now=now)

    # -- helpers

    @property
    def _sends_early(self) -> bool:
        return self.early is not None and self.state is ConnectionState.INITIATING

    def _end_with(self, code: int, reason: str, *, now: Instant) -> None:
        if self.observer is not None:
            self.observer.now = now
        probe_timeout = self.recovery.probe_timeout if self.parameters is not None else 0
        self.life.end(code, reason, probe_timeout=probe_timeout, now=now)
        self.wake()
