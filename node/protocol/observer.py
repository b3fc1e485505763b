"""Turns what a connection does into trace events: all that tracing costs the core stands here.

A connection that is traced has one ``Observer``, any other has None in its place; each place that has
something to tell checks that one attribute, once a burst. Nothing here changes the connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from node.protocol import trace
from node.protocol.congestion.base import initial_window
from node.protocol.datagrams import Transmit
from node.protocol.recovery.reordering import PACKET_THRESHOLD
from node.protocol.recovery.rtt import GRANULARITY, INITIAL_RTT
from node.protocol.recovery.sent_packets import SentBurst, runs
from node.protocol.states import ConnectionState
from node.protocol.streams.receive import ReceiveStream
from node.protocol.streams.send import SendStream
from node.protocol.time import Instant
from node.protocol.wire.fec_frames import FecRepair
from node.protocol.wire.frames import Ack, Frame, Message, Stream
from node.protocol.wire.parameters import TransportParameters
from node.protocol.wire.setup import SetupPacket

if TYPE_CHECKING:
    from node.protocol.connection import Connection
    from node.protocol.path import Path
    from node.protocol.recovery.manager import Recovery
    from node.protocol.recovery.reordering import Reordering

DATA = "data"
EARLY = "early"
#: Halves of streams remembered before those that are over are looked for.
_PRUNE_AT = 1024


class Observer:
    """Tells one connection's tracer what happens.

    Args:
        tracer: takes each event.
    """

    def __init__(self, connection: Connection, tracer: trace.Tracer, now: Instant) -> None:
        self._tracer = tracer
        #: The latest instant that the connection was told: reads and writes come without one.
        self.now = now
        self._connection = connection
        #: What was told last of each half of a stream, so that only changes are told.
        self._told: dict[tuple[int, bool], tuple[str, trace.Range, trace.Range]] = {}
        #: How often go-back-n had stepped back, as last told.
        self._epochs: dict[int, int] = {}
        self._phase: str | None = None
        self._size = 0
        self._ecn_state: str | None = None
        #: Streams of which something was acknowledged just now.
        self._touched: dict[int, SendStream] = {}

    def emit(self, now: Instant, event: trace.TraceEvent) -> None:
        """Tell an event; none is told to be older than the one before it (SPEC 16-2)."""
        if now > self.now:
            self.now = now
        self._tracer(self.now, event)

    # -- the connection

    def started(self) -> None:
        """The connection has begun."""
        c = self._connection
        event = trace.ConnectionStarted(c.initiator, c.remote, c.peer_address, c.connection_id)
        self.emit(self.now, event)

    def closed(self, code: int, reason: str, *, remote: bool) -> None:
        """The connection is over for the application."""
        self.emit(self.now, trace.ConnectionClosed("remote" if remote else "local", code, reason))

    def agreed(self, ours: TransportParameters, peer: TransportParameters) -> None:
        """The handshake has set what holds."""
        self.emit(self.now, trace.ParametersSet("local", ours))
        self.emit(self.now, trace.ParametersSet("remote", peer))
        if ours.integrity == "aead":
            for owner in ("local", "remote"):
                self.emit(self.now, trace.KeyUpdated(owner, 0, "handshake"))

    def state_changed(self, old: ConnectionState, new: ConnectionState) -> None:
        """The connection has taken a step in its life."""
        self.emit(self.now, trace.ConnectionStateUpdated(old.value, new.value))

    def handed_in(self, size: int, segment_size: int, ecn: int, now: Instant) -> None:
        """The driver handed a burst in."""
        self.now = now
        self.emit(now, trace.DatagramsReceived(-(-size // segment_size), size, segment_size, ecn))

    def handed_out(self, burst: Transmit, now: Instant) -> None:
        """A burst goes to the driver."""
        self.now = now
        self.emit(now, trace.DatagramsSent(burst.count, len(burst.buffer), burst.segment_size, burst.ecn))

    def setup_sent(self, kind: str, number: int, size: int, now: Instant) -> None:
        """A set-up packet of ``size`` bytes goes out."""
        self.now = now
        self.emit(now, trace.PacketSent(kind, number, 1, size, size))
        self.emit(now, trace.DatagramsSent(1, size, size))

    def setup_received(self, kind: str, packet: SetupPacket, now: Instant) -> None:
        """A set-up packet of this connection passed its checks."""
        self.now = now
        number, size = packet.packet_number, packet.size
        self.emit(now, trace.DatagramsReceived(1, size, size))
        self.emit(now, trace.PacketReceived(kind, number, 1, size, size))

    def path(self, path: Path, state: str, now: Instant) -> None:
        """The connection took to a path, or knows now whether it works."""
        self.emit(now, trace.PathUpdated(path.remote, state, path.is_own_move))

    def took_to(self, path: Path, old: Path, now: Instant) -> None:
        """Packets go over another path."""
        self.path(path, "active", now)
        if path.peer_id.value != old.peer_id.value:
            event = trace.ConnectionIdUpdated("remote", old.peer_id.value, path.peer_id.value)
            self.emit(now, event)

    # -- sending

    def wrote(self, stream: SendStream, length: int) -> None:
        """The application wrote ``length`` bytes to a stream."""
        self.emit(self.now, trace.DataMoved(stream.stream_id, stream.written - length, length, False))

    def sent(self, record: SentBurst, ack: Ack | None) -> None:
        """Packets were built; ``ack``: the acknowledgement in the only one, which no record keeps."""
        now, stream = record.time_sent, record.stream
        kind = EARLY if self._connection.state is ConnectionState.INITIATING else DATA
        if stream is not None:
            self._sent_run(record, stream, kind)
        else:
            parts = [
                trace.StreamPart(piece.stream_id, start, end - start, fin, piece.is_message)
                for piece, start, end, fin, _ in record.pieces
            ]
            frames = ((ack,) if ack is not None else ()) + record.frames + tuple(parts)
            for index in range(record.count):
                self.emit(now, trace.PacketSent(
                    kind, record.first + index, 1, record.size, record.last_size, _frames_at(frames, index)
                ))  # fmt: skip
        if record.eliciting:
            self.metrics(self._connection.recovery, now)
        if stream is not None:
            self.sender_changed(stream, now)
        for piece, *_ in record.pieces:
            self.sender_changed(piece, now)

    def _sent_run(self, record: SentBurst, stream: SendStream, kind: str) -> None:
        """Tell of each run of packets with consecutive data."""
        parts, size = record.parts, record.data_size
        ends = [*(index for index, _ in parts[1:]), record.count]
        for (index, start), beyond in zip(parts, ends, strict=True):
            last = beyond == record.count
            end = record.data_end if last else start + (beyond - index) * size
            run = trace.StreamRun(stream.stream_id, start, end, size, last and record.fin, stream.is_message)
            last_size = record.last_size if last else record.size
            first, count = record.first + index, beyond - index
            event = trace.PacketSent(kind, first, count, record.size, last_size, (), run)
            self.emit(record.time_sent, event)

    def limited(self, cause: str, now: Instant) -> None:
        """All that may go now has gone, and something else than before keeps back what is left."""
        self.emit(now, trace.LimitUpdated(cause))

    # -- receiving

    def received(self, number: int, size: int, frames: Iterable[Frame], now: Instant) -> None:
        """A packet passed its checks; its frames are handled next (SPEC 16-5)."""
        early = self._connection.early
        kind = EARLY if early is not None and early.is_reading else DATA
        self.emit(now, trace.PacketReceived(kind, number, 1, size, size, tuple(map(_without_data, frames))))

    def rebuilt(self, number: int, size: int, frames: Iterable[Frame], now: Instant) -> None:
        """What a lost packet carried was rebuilt; its frames are handled next."""
        self.emit(now, trace.FecPacketRebuilt(number, size, tuple(map(_without_data, frames))))

    def received_run(
        self, stream: ReceiveStream, run: trace.StreamRun, first: int, count: int, size: int,
        last_size: int, now: Instant,
    ) -> None:  # fmt: skip
        """Packets with the data that a stream waited for were taken."""
        self.emit(now, trace.PacketReceived(DATA, first, count, size, last_size, (), run))
        self.receiver_changed(stream, now)

    def read(self, stream: ReceiveStream, length: int) -> None:
        """The application took ``length`` bytes, in order."""
        if length:
            moved = trace.DataMoved(stream.stream_id, stream.read_offset - length, length, True)
            self.emit(self.now, moved)
        self.receiver_changed(stream, self.now)

    # -- recovery

    def acked(self, newly: list[tuple[SentBurst, int]], now: Instant) -> None:
        """Packets were acknowledged for the first time."""
        self.emit(now, trace.PacketsAcked(_ranges(newly)))
        for record, _ in newly:
            for stream in (record.stream, *(piece for piece, *_ in record.pieces)):
                if stream is not None:
                    self._touched[stream.stream_id] = stream

    def settled(self, recovery: Recovery, now: Instant) -> None:
        """An acknowledgement or a time-out has been dealt with."""
        self.metrics(recovery, now)
        for stream in self._touched.values():
            self.sender_changed(stream, now)
        self._touched.clear()

    def recovered(self, record: SentBurst, mask: int) -> None:
        """The peer says that it has rebuilt packets of ours."""
        self.emit(self.now, trace.FecPacketsRecovered(_ranges([(record, mask)])))

    def spurious(
        self, late: list[tuple[SentBurst, int]], reordering: Reordering, now: Instant, *, undone: bool
    ) -> None:
        """Packets that were declared lost were acknowledged after all."""
        thresholds = reordering.packet_threshold, reordering.time_threshold_eighths
        self.emit(now, trace.SpuriousLoss(_ranges(late), *thresholds, undone))

    def lost(
        self, lost: list[tuple[SentBurst, int]], largest_acked: int, threshold: int, now: Instant
    ) -> None:
        """Packets were declared lost, by ``threshold`` later packets or by time."""
        limit = largest_acked - threshold + 1  # numbers below it have enough acknowledged after them
        by_number, by_time = [], []
        for start, end in _ranges(lost):
            if start < limit:
                by_number.append((start, min(end, limit)))
            if end > limit:
                by_time.append((max(start, limit), end))
        if by_number:
            self.emit(now, trace.PacketLost(tuple(by_number), "reordering_threshold"))
        if by_time:
            self.emit(now, trace.PacketLost(tuple(by_time), "time_threshold"))

    def marked_for_retransmit(self, record: SentBurst, mask: int) -> None:
        """The ARQ mode has dealt with what the lost packets in ``mask`` carried."""
        carried: list[tuple[SendStream, tuple[trace.Range, ...]]] = []
        if record.stream is not None:
            ranges = tuple((start, end) for start, end, _ in record.data_of(mask))
            carried.append((record.stream, ranges))
        carried += [(stream, ((start, end),)) for stream, start, end, *_ in record.pieces]
        for stream, ranges in carried:
            # SPEC 7-3: of packets sent before the last step back nothing is marked.
            if not self.stepped_back(stream) and not self._connection.arq.in_order_only:
                self.emit(self.now, trace.MarkedForRetransmit(stream.stream_id, ranges))

    def stepped_back(self, stream: SendStream) -> bool:
        """Tell if go-back-n has stepped back since the last time."""
        if stream.epoch == self._epochs.get(stream.stream_id, 0):
            return False
        self._epochs[stream.stream_id] = stream.epoch
        start, end = stream.rewound_to, stream.high_water
        self.emit(self.now, trace.ArqSteppedBack(stream.stream_id, start, end, stream.epoch))
        self.emit(self.now, trace.MarkedForRetransmit(stream.stream_id, ((start, end),)))
        return True

    def timer_expired(self, now: Instant, *, probe: bool) -> None:
        """The loss timer fired, for a probe or for losses by time."""
        self.emit(now, trace.LossTimerUpdated("pto" if probe else "ack"))

    def metrics(self, recovery: Recovery, now: Instant) -> None:
        """Loss recovery or congestion control has new figures."""
        rtt, congestion = recovery.rtt, recovery.congestion
        sampled, phase = rtt.has_sample, congestion.phase
        size = self._connection.builder.size
        if self._phase is None:
            self._begin_recovery(recovery, now)
        elif size != self._size:
            self.emit(now, trace.MtuUpdated(self._size, size))
        self._size = size
        if phase != self._phase:
            changed = trace.CongestionStateUpdated(congestion.name, self._phase, phase)
            self.emit(now, changed)
            self._phase = phase
        if recovery.ecn.state.value != self._ecn_state:
            before, self._ecn_state = self._ecn_state, recovery.ecn.state.value
            self.emit(now, trace.EcnStateUpdated(before, self._ecn_state))
        self.emit(
            now,
            trace.MetricsUpdated(
                rtt.min_rtt if sampled else None,
                rtt.smoothed_rtt if sampled else None,
                rtt.latest_rtt if sampled else None,
                rtt.rttvar if sampled else None,
                recovery.pto_count,
                congestion.congestion_window,
                recovery.bytes_in_flight,
                recovery.open_packets,
                congestion.ssthresh,
                recovery.pacer.rate,
            ),
        )

    def _begin_recovery(self, recovery: Recovery, now: Instant) -> None:
        self.emit(
            now,
            trace.RecoveryParametersSet(
                recovery.congestion.name,
                PACKET_THRESHOLD,
                GRANULARITY,
                INITIAL_RTT,
                self._connection.builder.size,
                initial_window(self._connection.builder.size),
            ),
        )

    # -- streams

    def sender_changed(self, stream: SendStream, now: Instant) -> None:
        """State, S, R or W of a stream that we send on may have changed (SPEC 16-4)."""
        if stream.stream_id not in self._connection.streams.senders:
            return
        windows = self._connection.windows(stream.stream_id)
        event = trace.WindowsUpdated(stream.stream_id, windows.send, windows.receive, windows.shared)
        self._tell(stream.state.value, event, now, sending=True)

    def receiver_changed(self, stream: ReceiveStream, now: Instant) -> None:
        """State or R of a stream that we receive on may have changed: data in order, or new credit."""
        receive = (stream.contiguous_end, stream.window.maximum)
        event = trace.WindowsUpdated(stream.stream_id, None, receive, None)
        self._tell(stream.state.value, event, now, sending=False)

    def stream_changed(self, stream_id: int) -> None:
        """A stream may be over."""
        streams = self._connection.streams
        if (sender := streams.senders.get(stream_id)) is not None:
            self.sender_changed(sender, self.now)
        if (receiver := streams.receivers.get(stream_id)) is not None:
            self.receiver_changed(receiver, self.now)

    def _tell(self, state: str, windows: trace.WindowsUpdated, now: Instant, *, sending: bool) -> None:
        key = (windows.stream_id, sending)
        before = self._told.get(key)
        told = (state, windows.send or windows.receive, windows.receive)
        if before == told:
            return
        self._told[key] = told
        if before is None and len(self._told) > _PRUNE_AT:
            self._prune()
        if before is None or before[0] != state:
            old = None if before is None else before[0]
            self.emit(now, trace.StreamStateUpdated(windows.stream_id, sending, old, state))
        if before is None or before[1:] != told[1:]:
            self.emit(now, windows)

    def _prune(self) -> None:
        """Keep nothing of streams that are over."""
        streams = self._connection.streams
        self._told = {
            key: told
            for key, told in self._told.items()
            if key[0] in streams.senders or key[0] in streams.receivers
        }
        self._epochs = {key: epoch for key, epoch in self._epochs.items() if key in streams.senders}


def _without_data(frame: Frame) -> Frame | trace.StreamPart:
    """Return what may be kept of a frame: its data lies in a buffer that is used again."""
    if isinstance(frame, Stream):
        message = isinstance(frame, Message)
        return trace.StreamPart(frame.stream_id, frame.offset, len(frame.data), frame.fin, message)
    if isinstance(frame, FecRepair):
        return replace(frame, symbol=b"")
    return frame


def _ranges(packets: Iterable[tuple[SentBurst, int]]) -> tuple[trace.Range, ...]:
    """Return the packet numbers that records and masks stand for, lowest first."""
    found: list[trace.Range] = []
    for record, mask in packets:
        for low, high in runs(mask):
            start = record.first + low
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], record.first + high)
            else:
                found.append((start, record.first + high))
    return tuple(found)


def _frames_at(
    frames: tuple[Frame | trace.StreamPart, ...], index: int
) -> tuple[Frame | trace.StreamPart, ...]:
    """Return the frames of a packet in a burst whose record has those of the first: repair goes in bursts."""
    if index and isinstance(repair := frames[0], FecRepair):
        return (replace(repair, index=repair.index + index),)
    return frames
