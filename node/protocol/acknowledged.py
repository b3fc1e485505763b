"""What becomes of what was sent: frames and data that were acknowledged, lost, or are to be probed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.protocol.events import StreamAcknowledged, StreamWritable
from node.protocol.recovery.sent_packets import SentBurst, runs
from node.protocol.streams.send import SendStream
from node.protocol.streams.states import SendState, send_transition
from node.protocol.wire.frames import (
    AckFrequency,
    Frame,
    MaxData,
    MaxStreamData,
    MaxStreams,
    Ping,
    ResetStream,
)

if TYPE_CHECKING:
    from node.protocol.connection import Connection

#: A stream whose backlog falls below this may be written to again.
LOW_WATER = 256 * 1024


def on_acked(c: Connection, record: SentBurst, mask: int) -> None:
    """The packets in ``mask`` were acknowledged."""
    if record.stream is not None:
        for low, high in runs(mask):
            start, end, fin = record.data_of(low, high)
            _stream_acked(c, record.stream, start, end, fin)
    for stream, start, end, fin, _ in record.pieces:
        _stream_acked(c, stream, start, end, fin)
    for frame in record.frames:
        if isinstance(frame, ResetStream):
            reset = c.streams.senders.get(frame.stream_id)
            if reset is not None and reset.state is SendState.RESET_SENT:
                reset.state = send_transition(reset.state, "reset acknowledged")
                c.forget_if_done(frame.stream_id)


def on_lost(c: Connection, record: SentBurst, mask: int) -> None:
    """The packets in ``mask`` are lost: what they carried goes again where that still makes sense."""
    if record.stream is not None:
        for low, high in runs(mask):
            start, end, fin = record.data_of(low, high)
            c.arq.on_lost(record.stream, start, end, fin=fin, epoch=record.epoch)
        c.streams.mark_ready(record.stream)
    for stream, start, end, fin, epoch in record.pieces:
        c.arq.on_lost(stream, start, end, fin=fin, epoch=epoch)
        c.streams.mark_ready(stream)
    if c.observer is not None:
        c.observer.marked_for_retransmit(record, mask)
    _repeat_frames(c, record.frames)


def repeat_oldest(c: Connection, record: SentBurst) -> None:
    """Queue again what the first outstanding packet of ``record`` carried; it is not lost yet."""
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
        low, _ = next(runs(record.outstanding))
        start, end, fin = record.data_of(low, low + 1)
        record.stream.requeue(start, end, fin=fin)
        c.streams.mark_ready(record.stream)
    for stream, start, end, fin, _ in record.pieces:
        stream.requeue(start, end, fin=fin)
        c.streams.mark_ready(stream)
    _repeat_frames(c, record.frames)


def _stream_acked(c: Connection, stream: SendStream, start: int, end: int, fin: bool) -> None:
    before = stream.backlog
    c.on_stream_acked(stream.on_acked(start, end, fin=fin))
    if stream.backlog < LOW_WATER <= before and not stream.ended:
        c.events.append(StreamWritable(stream.stream_id))
    if stream.complete and stream.state is SendState.DATA_SENT:
        stream.state = send_transition(stream.state, "all acknowledged")
        c.events.append(StreamAcknowledged(stream.stream_id))
        c.forget_if_done(stream.stream_id)


def _repeat_frames(c: Connection, frames: tuple[Frame, ...]) -> None:
    """SPEC 8-1: credit is repeated with its present value, a PING not at all."""
    for frame in frames:
        if isinstance(frame, Ping):
            continue
        if isinstance(frame, AckFrequency):
            if frame != c.builder.ack_frequency:  # a newer wish is on its way
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
