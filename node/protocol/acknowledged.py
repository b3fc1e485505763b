"""What becomes of what was sent: frames and data that were acknowledged, lost, or are to be probed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from node.protocol.configuration import MIN_DATAGRAM_SIZE
from node.protocol.errors import ErrorCode
from node.protocol.events import SendingGivenUp, StreamAcknowledged, StreamWritable
from node.protocol.recovery.sent_packets import SentBurst
from node.protocol.streams.send import SendStream
from node.protocol.streams.states import SendState, send_transition
from node.protocol.wire.fec_frames import FecRecovered, FecRepair
from node.protocol.wire.frames import (
    AckFrequency,
    Frame,
    MaxData,
    MaxStreamData,
    MaxStreams,
    NewConnectionId,
    Ping,
    ResetStream,
    RetireConnectionId,
)

if TYPE_CHECKING:
    from node.protocol.connection import Connection

#: A stream whose backlog falls below this may be written to again.
LOW_WATER = 256 * 1024


def on_acked(c: Connection, newly: Sequence[tuple[SentBurst, int]]) -> None:
    """Packets were acknowledged: records with masks, oldest first."""
    if c.fec is not None:
        for record, mask in newly:
            c.fec.on_acked(record, mask)
    if c.paths.active.mtu.in_doubt:
        _end_doubt(c, newly)
    deliver(c, newly)


def _end_doubt(c: Connection, newly: Sequence[tuple[SentBurst, int]]) -> None:
    for record, _ in newly:
        if c.paths.active.mtu.in_doubt and record.path == c.recovery.path:
            c.paths.on_acked(record.size)


def _note_large_loss(c: Connection, record: SentBurst) -> None:
    if record.size > MIN_DATAGRAM_SIZE and record.path == c.recovery.path:
        c.paths.large_lost = record.time_sent


def deliver(c: Connection, newly: Sequence[tuple[SentBurst, int]]) -> None:
    """What these packets carried has arrived. Data of one stream that fits together is told at once."""
    current: SendStream | None = None
    begin = beyond = 0
    ended = False
    for record, mask in newly:
        if record.stream is not None:
            for start, end, fin in record.data_of(mask):
                if current is record.stream and start == beyond:
                    beyond, ended = end, ended or fin
                    continue
                if current is not None:
                    _stream_acked(c, current, begin, beyond, ended)
                current, begin, beyond, ended = record.stream, start, end, fin
        for stream, start, end, fin, _ in record.pieces:
            _stream_acked(c, stream, start, end, fin)
        if record.frames:
            _frames_arrived(c, record.frames)
    if current is not None:
        _stream_acked(c, current, begin, beyond, ended)


def _frames_arrived(c: Connection, frames: Sequence[Frame]) -> None:
    for frame in frames:
        if isinstance(frame, RetireConnectionId):
            c.paths.peer_ids.on_retire_acked(frame.sequence)
        elif isinstance(frame, ResetStream):
            reset = c.streams.senders.get(frame.stream_id)
            if reset is not None and reset.state is SendState.RESET_SENT:
                reset.state = send_transition(reset.state, "reset acknowledged")
                c.forget_if_done(frame.stream_id)


def on_lost(c: Connection, record: SentBurst, mask: int) -> None:
    """The packets in ``mask`` are lost: what they carried goes again (SPEC 8-8) unless repair brings it."""
    _note_large_loss(c, record)
    if c.fec is not None:
        mask = c.fec.on_lost(record, mask)
    if mask:
        repeat_lost(c, record, mask)


def repeat_lost(c: Connection, record: SentBurst, mask: int) -> None:
    """What the packets in ``mask`` carried goes again where that still makes sense."""
    if record.stream is not None:
        for start, end, fin in record.data_of(mask):
            _repeat_data(c, record.stream, start, end, fin=fin, epoch=record.epoch)
    for stream, start, end, fin, epoch in record.pieces:
        _repeat_data(c, stream, start, end, fin=fin, epoch=epoch)
    if c.observer is not None and not _never_repeats(c):
        c.observer.marked_for_retransmit(record, mask)
    if record.frames:
        _repeat_frames(c, record.frames)


def _never_repeats(c: Connection) -> bool:
    return c.fec is not None and c.fec.never_repeats


def _repeat_data(c: Connection, stream: SendStream, start: int, end: int, *, fin: bool, epoch: int) -> None:
    if c.fec is not None and c.fec.never_repeats:
        if stream.lacks(start, end, fin=fin):
            _give_up(c, stream)
        return
    c.arq.on_lost(stream, start, end, fin=fin, epoch=epoch)
    c.streams.mark_ready(stream)


def _give_up(c: Connection, stream: SendStream) -> None:
    """What was lost of a stream will never arrive (SPEC 12.5-4)."""
    if stream.is_message:
        c.messages.on_lost(stream.stream_id)
        return
    c.reset_stream(stream.stream_id, ErrorCode.FEC)
    c.events.append(SendingGivenUp(stream.stream_id, ErrorCode.FEC))


def repeat(c: Connection, record: SentBurst, *, newest: bool) -> None:
    """Queue again what a packet of ``record`` carried that is in flight: the newest or the oldest of them."""
    if _never_repeats(c):
        _repeat_frames(c, record.frames)
        return
    if c.arq.in_order_only:
        # Only what is next in order is taken at all: anything else would be a probe in vain.
        for sender in c.streams.senders.values():
            if sender.acked_prefix < sender.high_water or (sender.ended and not sender.fin_acked):
                sender.rewind(sender.acked_prefix)
                c.streams.mark_ready(sender)
                if c.observer is not None:
                    c.observer.stepped_back(sender)
        _repeat_frames(c, record.frames)
        return
    if record.stream is not None:
        waiting = record.outstanding
        start, end, fin = record.data_of(1 << waiting.bit_length() - 1 if newest else waiting & -waiting)[0]
        record.stream.requeue(start, end, fin=fin)
        c.streams.mark_ready(record.stream)
    for stream, start, end, fin, _ in record.pieces:
        stream.requeue(start, end, fin=fin)
        c.streams.mark_ready(stream)
    _repeat_frames(c, record.frames)


def _stream_acked(c: Connection, stream: SendStream, start: int, end: int, fin: bool) -> None:
    before = stream.acked_prefix
    c.stream_bytes_acked += stream.on_acked(start, end, fin=fin)
    # Backlogs, without the calls: of what was written, this is not acknowledged yet.
    if stream.written - stream.acked_prefix < LOW_WATER <= stream.written - before and not stream.ended:
        c.events.append(StreamWritable(stream.stream_id))
    if stream.fin_acked and stream.complete and stream.state is SendState.DATA_SENT:
        stream.state = send_transition(stream.state, "all acknowledged")
        if stream.is_message:
            c.messages.on_acknowledged(stream.stream_id)
        else:
            c.events.append(StreamAcknowledged(stream.stream_id))
        c.forget_if_done(stream.stream_id)


def _repeat_frames(c: Connection, frames: tuple[Frame, ...]) -> None:
    """SPEC 8-1: credit is repeated with its present value, PING and FEC_REPAIR not at all (SPEC 12.1-3)."""
    for frame in frames:
        if isinstance(frame, Ping | FecRepair):
            continue
        if isinstance(frame, AckFrequency):
            if frame != c.builder.ack_frequency:  # a newer wish is on its way
                continue
        elif isinstance(frame, FecRecovered):
            if c.fec is not None:
                c.fec.rebuilder.report_due = True
            continue
        elif isinstance(frame, NewConnectionId):
            if not c.paths.issued.is_active(frame.sequence):
                continue
        elif isinstance(frame, MaxData):
            frame = MaxData(c.credit.window.maximum)
        elif isinstance(frame, MaxStreamData):
            receiver = c.streams.receivers.get(frame.stream_id)
            if receiver is None or receiver.final_size is not None:
                continue
            frame = MaxStreamData(frame.stream_id, receiver.window.maximum)
        elif isinstance(frame, MaxStreams):
            limit = c.streams.limit_of_peer(unidirectional=frame.unidirectional)
            frame = MaxStreams(limit, frame.unidirectional)
        if frame not in c.builder.control:
            c.builder.control.append(frame)
