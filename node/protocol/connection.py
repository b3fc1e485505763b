"""A connection: the order of work, and who is asked what. The algorithms are elsewhere.

Contract, as for everything in the core: one mutation (``receive``, ``handle_timeout``, or a call
of the application), then drain ``transmit`` and the events, then read ``next_timeout``. ``now``
never goes back; equal is fine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from node.protocol.acknowledged import on_acked, on_lost, repeat_oldest
from node.protocol.arena import Arena
from node.protocol.arq.base import ARQ_MODES, ArqMode
from node.protocol.configuration import Configuration
from node.protocol.congestion.base import CONTROLLERS, initial_window
from node.protocol.datagrams import SocketAddress, Transmit
from node.protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError, check_code
from node.protocol.events import ConnectionClosed, ConnectionEstablished, Event, StreamDataReceived
from node.protocol.frame_handlers import HANDLERS
from node.protocol.handshake import Keys, make_protection
from node.protocol.packet_builder import PacketBuilder
from node.protocol.packet_receiver import PacketReceiver
from node.protocol.recovery.acknowledgements import Acknowledgements
from node.protocol.recovery.manager import Recovery
from node.protocol.recovery.sent_packets import SentBurst
from node.protocol.snapshot import snapshot
from node.protocol.states import ACTIVE, OVER, TRANSITIONS, ConnectionState
from node.protocol.statistics import Statistics, Windows
from node.protocol.streams.flow_control import ReceiveWindow
from node.protocol.streams.receive import ReceiveStream
from node.protocol.streams.table import UNIDIRECTIONAL, StreamTable
from node.protocol.time import SECOND, Duration, Instant
from node.protocol.timers import Timer, TimerTable, earliest
from node.protocol.wire.frames import (
    Frame,
    MaxData,
    MaxStreamData,
    MaxStreams,
    Ping,
    ResetStream,
    StopSending,
)
from node.protocol.wire.packet_number import MAX_PACKET_NUMBER
from node.protocol.wire.parameters import TransportParameters
from node.protocol.wire.protection import PacketProtection

#: How long a responder that never drops idle connections waits for one to be confirmed.
HALF_OPEN_PATIENCE: Duration = 60 * SECOND
#: The state of a closed connection is kept for this many probe time-outs (SPEC 9-1).
CLOSING_PROBE_TIMEOUTS = 3


class Connection:
    """One connection. Made by ``Endpoint.connect`` or by a peer's INITIATION.

    Args:
        on_work: called when there may be something to transmit.
    """

    protection: PacketProtection
    arq: ArqMode
    acks: Acknowledgements
    recovery: Recovery
    streams: StreamTable

    def __init__(
        self, *, initiator: bool, configuration: Configuration, connection_id: bytes,
        remote: SocketAddress, arena: Arena, on_work: Callable[[Connection], None], now: Instant,
    ) -> None:  # fmt: skip
        self.initiator = initiator
        self.configuration = configuration
        self.connection_id = connection_id
        self.remote = remote
        self.state = ConnectionState.INITIATING if initiator else ConnectionState.RESPONDING
        self.timers = TimerTable()
        self.events: deque[Event] = deque()
        self.peer_address = 0
        self.parameters: TransportParameters | None = None
        self.queued = False
        self._on_work = on_work
        self.builder = PacketBuilder(self, arena)
        self.receiver = PacketReceiver(self)
        self.window = ReceiveWindow(configuration.connection_window)
        self._received_total = 0
        self._peer_max_data = 0
        self._sent_total = 0
        self.stream_bytes_acked = 0
        self.packets_sent = self.bytes_sent = 0
        self._close_reply: tuple[int, str] = (0, "")
        self._close_pending = False
        self._after_close = 0
        self._idle_timeout: Duration = configuration.idle_timeout
        self._eliciting_since_receipt = False
        # A responder waits as long as an idle connection: the initiator may hold it for established.
        patience = configuration.handshake_timeout
        if not initiator:
            patience = max(patience, configuration.idle_timeout or HALF_OPEN_PATIENCE)
        self.timers.set(Timer.HANDSHAKE, now + patience)

    # -- what the world did

    def start(self, ours: TransportParameters, peer: TransportParameters, keys: Keys) -> None:
        """Take what the handshake agreed on; from now on there are streams."""
        self.parameters = peer
        self.protection = make_protection(ours.integrity, keys, initiator=self.initiator)
        self.is_authenticated = ours.integrity == "aead"
        self.arq = ARQ_MODES[ours.arq]()
        size = min(self.configuration.max_datagram_size, peer.max_datagram_size)
        self.acks = Acknowledgements(
            max_ack_delay=self.configuration.max_ack_delay, at_once=self.arq.acknowledge_at_once
        )
        self.recovery = Recovery(
            CONTROLLERS[self.configuration.congestion](size),
            initial_window=initial_window(size),
            on_acked=lambda record, mask: on_acked(self, record, mask),
            on_lost=lambda record, mask: on_lost(self, record, mask),
        )
        self.recovery.max_ack_delay = 0 if self.arq.acknowledge_at_once else peer.max_ack_delay
        self.streams = StreamTable(
            initiator=self.initiator,
            stream_window=self.configuration.stream_window,
            max_bidi=self.configuration.max_streams_bidi,
            max_uni=self.configuration.max_streams_uni,
        )
        self.streams.set_peer_limits(
            stream_window=peer.initial_max_stream_data,
            max_bidi=peer.initial_max_streams_bidi,
            max_uni=peer.initial_max_streams_uni,
        )
        self._peer_max_data = peer.initial_max_data
        idle = [t for t in (self.configuration.idle_timeout, peer.max_idle_timeout) if t]
        self._idle_timeout = min(idle, default=0)
        self.builder.configure(peer.connection_id, size)

    def establish(self, *, rtt: Duration | None, now: Instant) -> None:
        """The handshake is done; ``rtt``: what its round trip took, where that is unambiguous."""
        self._go("response" if self.initiator else "confirmed")
        if rtt is not None:
            self.recovery.take_handshake_sample(rtt, now=now)
        self.timers.clear(Timer.HANDSHAKE)
        self.timers.clear(Timer.INITIATION)
        self._restart_idle(now)
        if self.initiator:
            self.builder.control.append(Ping())  # SPEC 3.1-3
        self.events.append(ConnectionEstablished(self.peer_address, self.initiator))
        self._on_work(self)

    def receive(self, packets: memoryview, size: int, *, now: Instant, arena: Arena | None = None) -> None:
        """Take DATA packets of ``size`` bytes with our connection ID (``arena``: as in Burst)."""
        if self.state in ACTIVE:
            try:
                self.receiver.receive(packets, size, now=now, arena=arena)
            except RemoteProtocolError as error:
                self._end_with(error.code, error.reason, now=now)
        elif self.state is ConnectionState.CLOSING:
            self._after_close += 1
            # SPEC 9-1: ever more rarely, so that two closed ends do not answer each other for ever.
            if self._after_close & (self._after_close - 1) == 0:
                self._close_pending = True
        self._on_work(self)

    def on_authentic(self, now: Instant) -> None:
        """A packet of the peer has passed its integrity check."""
        if self.state is ConnectionState.RESPONDING:
            sent = self.timers.responded_at
            self.establish(rtt=None if sent is None else max(1, now - sent), now=now)
        elif self._idle_timeout:
            self.timers.set(Timer.IDLE, now + self._idle_timeout)
        self._eliciting_since_receipt = False

    def handle_timeout(self, *, now: Instant) -> None:
        """Do what is due."""
        due = self.timers.due(now)
        if Timer.IDLE in due:
            self._gone(ErrorCode.IDLE_TIMEOUT, "nothing heard for the idle time-out", now=now)
        elif Timer.HANDSHAKE in due:
            self._gone(ErrorCode.HANDSHAKE_TIMEOUT, "the peer did not answer the handshake", now=now)
        if due & {Timer.IDLE, Timer.HANDSHAKE, Timer.CLOSE}:
            self.state = TRANSITIONS[self.state, "gone"]
            self.timers.clear_all()
            return
        if self.state is ConnectionState.ESTABLISHED:
            deadline = self.recovery.next_timeout()
            if deadline is not None and deadline <= now:
                self.recovery.on_timeout(now=now)
        self._on_work(self)

    # -- what the caller wants

    def open_stream(self, *, unidirectional: bool = False) -> int:
        """Open a stream and return its id.

        Raises:
            LocalProtocolError: not established, or the peer allows no more streams for now.
        """
        self._need_open()
        return self.streams.open(unidirectional=unidirectional)

    def write(self, stream_id: int, data: bytes | bytearray | memoryview, *, end: bool = False) -> None:
        """Append data to a stream, and maybe end it. The data is kept by reference: leave it alone.

        Raises:
            LocalProtocolError: no such stream, or it is ended or reset.
        """
        self._need_open()
        stream = self.streams.sender(stream_id)
        stream.write(data, end=end)
        self.streams.mark_ready(stream)
        self._on_work(self)

    def backlog(self, stream_id: int) -> int:
        """Return how many bytes of a stream are written and not yet acknowledged; 0 when it is over."""
        stream = self.streams.senders.get(stream_id)
        return stream.backlog if stream is not None else 0

    def read(self, stream_id: int) -> bytearray:
        """Return all bytes that arrived in order and were not read yet, and give the peer new credit.

        A stream that is over gives no bytes (LocalProtocolError: there never was such a stream).
        """
        if stream_id not in self.streams.receivers and self.streams.was_opened(stream_id):
            return bytearray()
        stream = self.streams.receiver(stream_id)
        data = stream.read()
        if self.state not in OVER:
            if stream.window.consume(len(data)) and stream.final_size is None:
                self.builder.queue_credit(MaxStreamData(stream_id, stream.window.raise_maximum()))
            if self.window.consume(len(data)):
                self.builder.queue_credit(MaxData(self.window.raise_maximum()))
            self.forget_if_done(stream_id)
            self._on_work(self)
        return data

    def reset_stream(self, stream_id: int, code: int) -> None:
        """Give up sending on a stream."""
        self._need_open()
        check_code(code)
        stream = self.streams.sender(stream_id)
        stream.reset(code)
        self.builder.control.append(ResetStream(stream_id, code, stream.high_water))
        self._on_work(self)

    def stop_sending(self, stream_id: int, code: int) -> None:
        """Ask the peer to give up sending on a stream."""
        self._need_open()
        check_code(code)
        self.streams.receiver(stream_id)
        self.builder.control.append(StopSending(stream_id, code))
        self._on_work(self)

    def close(self, code: int = 0, reason: str = "", *, now: Instant) -> None:
        """End the connection for both sides at once (SPEC 9). Closing twice does nothing."""
        check_code(code)
        if self.state not in OVER:
            self._end_with(code, reason, now=now)

    # -- what to do now

    def transmit(self, *, now: Instant) -> Transmit | None:
        """Return the next datagrams to send, or None."""
        if self._close_pending:
            self._close_pending = False
            code, reason = self._close_reply
            return self.builder.close(code, reason, now=now)
        if self.state is ConnectionState.ESTABLISHED:
            if self.recovery.next_packet_number > MAX_PACKET_NUMBER - (1 << 10):
                self._end_with(ErrorCode.PACKET_NUMBERS_EXHAUSTED, "", now=now)  # SPEC 4-3
                return self.transmit(now=now)
            return self.builder.next_burst(now=now)
        return None

    def next_timeout(self) -> Instant | None:
        """Return when ``handle_timeout`` is to be called at the latest."""
        if self.state is not ConnectionState.ESTABLISHED:
            return self.timers.next()
        paced, ack = self.builder.paced_until, self.acks.deadline
        return earliest(self.timers.next(), self.recovery.next_timeout(), ack, paced)

    # -- properties

    @property
    def closed(self) -> bool:
        """Whether the connection is over for the application."""
        return self.state in OVER

    @property
    def credit(self) -> int:
        """New stream bytes that the peer still takes on the whole connection."""
        return self._peer_max_data - self._sent_total

    @property
    def receive_credit_left(self) -> int:
        """Stream bytes that the peer may still send us."""
        return self.window.maximum - self._received_total

    def statistics(self) -> Statistics:
        """Return a snapshot of counters and estimates."""
        return snapshot(self)

    def windows(self, stream_id: int) -> Windows:
        """Return S and R of a stream that we send on (SPEC 6.1)."""
        stream = self.streams.sender(stream_id)
        low = stream.acked_prefix
        limit = min(stream.max_data, stream.high_water + self.credit)
        return Windows((low, stream.high_water + self.recovery.window_left), (low, limit))

    # -- for the parts of the connection

    def handle_frame(self, frame: Frame, now: Instant) -> None:
        """Act on one frame (RemoteProtocolError: the peer broke the protocol)."""
        HANDLERS[type(frame)](self, frame, now)

    def announce(self, stream: ReceiveStream) -> None:
        """Tell the application that a stream has news, once until it reads; and of its end."""
        event = StreamDataReceived(stream.stream_id, stream.ended)
        if stream.announced:  # news of the end takes the place of older news not taken yet
            older = StreamDataReceived(stream.stream_id, ended=False)
            self.events = deque(e for e in self.events if e != older)
        stream.announced = True
        self.events.append(event)

    def take_credit(self, count: int) -> None:
        """Count new stream bytes against the connection's window (SPEC 6-2)."""
        self._received_total += count
        if self._received_total > self.window.maximum:
            raise RemoteProtocolError(ErrorCode.FLOW_CONTROL, "data beyond the connection's window")

    def raise_peer_max_data(self, maximum: int) -> None:
        """The peer extends the connection's window (MAX_DATA)."""
        self._peer_max_data = max(self._peer_max_data, maximum)

    def on_stream_sent(self, fresh: int) -> None:
        """Count stream bytes sent for the first time."""
        self._sent_total += fresh

    def on_stream_acked(self, fresh: int) -> None:
        """Count stream bytes acknowledged for the first time."""
        self.stream_bytes_acked += fresh

    def on_sent(self, record: SentBurst, fresh: int) -> None:
        """Note a burst that goes out."""
        self.packets_sent += record.count
        self.bytes_sent += record.bytes_of(record.full)
        self._sent_total += fresh
        self.recovery.on_sent(record)
        if record.eliciting and not self._eliciting_since_receipt:
            self._eliciting_since_receipt = True  # RFC 9000 §10.1: the first since the last receipt
            self._restart_idle(record.time_sent)

    def requeue_oldest(self, record: SentBurst) -> None:
        """Repeat the packet that is out longest, as a probe."""
        repeat_oldest(self, record)

    def forget_if_done(self, stream_id: int) -> None:
        """Drop a stream that is over, and let the peer open another."""
        limit = self.streams.forget_if_done(stream_id)
        if limit is not None:
            self.builder.queue_credit(MaxStreams(limit, bool(stream_id & UNIDIRECTIONAL)))

    def peer_closed(self, code: int, reason: str, now: Instant) -> None:
        """The peer sent CLOSE."""
        if self.state in ACTIVE:
            self._gone(code, reason, now=now, remote=True)
        self.state = TRANSITIONS[self.state, "peer closed"]
        self.timers.clear_all()
        self.timers.set(Timer.CLOSE, now + CLOSING_PROBE_TIMEOUTS * self.recovery.probe_timeout)

    # -- helpers

    def _need_open(self) -> None:
        if self.state is not ConnectionState.ESTABLISHED:
            raise LocalProtocolError(f"the connection is {self.state.value}, not established")

    def _end_with(self, code: int, reason: str, *, now: Instant) -> None:
        had_keys = self.state is ConnectionState.ESTABLISHED
        self._gone(code, reason, now=now)
        self._go("close")
        self.timers.clear_all()
        if had_keys:
            self._close_reply, self._close_pending = (code, reason), True
            delay = CLOSING_PROBE_TIMEOUTS * self.recovery.probe_timeout
            self.timers.set(Timer.CLOSE, now + delay)
        else:
            self.timers.set(Timer.CLOSE, now)
        self._on_work(self)

    def _gone(self, code: int, reason: str, *, now: Instant, remote: bool = False) -> None:
        # A connection that was never confirmed was never announced either.
        if self.state not in OVER and self.state is not ConnectionState.RESPONDING:
            self.events.append(ConnectionClosed(int(code), reason, remote))

    def _restart_idle(self, now: Instant) -> None:
        if self._idle_timeout:
            self.timers.set(Timer.IDLE, now + self._idle_timeout)

    def _go(self, event: str) -> None:
        self.state = TRANSITIONS[self.state, event]
