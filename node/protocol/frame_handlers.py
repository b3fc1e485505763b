"""What each frame does to a connection: one function a frame, one table (SPEC 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.events import SendingStopped, StreamOpened, StreamReset
from node.protocol.packet_receiver import store
from node.protocol.streams.send import SendStream
from node.protocol.streams.states import SEND_DONE, ReceiveState, SendState
from node.protocol.streams.table import UNIDIRECTIONAL
from node.protocol.time import MICROSECOND, Instant
from node.protocol.wire.fec_frames import FecRecovered, FecRepair
from node.protocol.wire.frames import (
    Ack,
    AckFrequency,
    Close,
    DataBlocked,
    Frame,
    MaxData,
    MaxStreamData,
    MaxStreams,
    Message,
    NewConnectionId,
    NewTicket,
    Padding,
    PathChallenge,
    PathResponse,
    Ping,
    ResetStream,
    RetireConnectionId,
    StopSending,
    Stream,
    StreamDataBlocked,
)

if TYPE_CHECKING:
    from node.protocol.connection import Connection
    from node.protocol.repair.fec import Fec


def _nothing(c: Connection, frame: Frame, now: Instant) -> None:
    """PADDING and PING ask for nothing but an acknowledgement; BLOCKED frames are for observers."""


def _ack(c: Connection, frame: Ack, now: Instant) -> None:
    if c.keys is not None and c.keys.updates:
        c.keys.check_ack(frame.ranges[0][1] - 1)
    c.recovery.on_ack(frame, now=now)
    if c.paths.active.mtu.probe_number is not None:
        c.paths.on_ack(frame.ranges, now=now)
    if c.paths.large_lost is not None:
        c.paths.after_losses(now=now)
    c.builder.ask_ack_frequency()


def _stream(c: Connection, frame: Stream, now: Instant) -> None:
    stream, opened = c.streams.receiver_for_frame(frame.stream_id)
    for stream_id in opened:
        c.events.append(StreamOpened(stream_id))
    if stream is not None:
        if stream.is_message:
            raise RemoteProtocolError(ErrorCode.MESSAGE, "STREAM frame on the stream of a message")
        store(c, stream, frame)
        if stream.ended:
            c.acks.hurry()
        elif opened:
            c.begin_window(stream)
        if c.observer is not None:
            c.observer.receiver_changed(stream, now)


def _message(c: Connection, frame: Message, now: Instant) -> None:
    c.messages.receive(frame)  # SPEC 6.2-6: without hurry


def _reset_stream(c: Connection, frame: ResetStream, now: Instant) -> None:
    stream, opened = c.streams.receiver_for_frame(frame.stream_id)
    # SPEC 6.2-4: a message that was given up was never there, whether or not a piece of it came before.
    quiet = bool(opened) and frame.code == ErrorCode.MESSAGE and bool(frame.stream_id & UNIDIRECTIONAL)
    for stream_id in () if quiet else opened:
        c.events.append(StreamOpened(stream_id))
    if stream is None or stream.ended:
        return
    if frame.final_size - stream.highest > c.credit.to_receive:
        raise RemoteProtocolError(ErrorCode.FLOW_CONTROL, "final size beyond the connection's window")
    again, unread = stream.state is ReceiveState.RESET_RECEIVED, frame.final_size - stream.read_offset
    c.credit.take(stream.reset(frame.final_size))
    if again:
        return
    # SPEC 6-4: what will not be read any more is credit for the other streams.
    c.give_credit(unread)
    if not (quiet or stream.is_message):
        c.events.append(StreamReset(frame.stream_id, frame.code))
    c.forget_if_done(frame.stream_id)


def _stop_sending(c: Connection, frame: StopSending, now: Instant) -> None:
    stream = _sender(c, frame.stream_id)
    if stream is None or stream.state in SEND_DONE or stream.state is SendState.RESET_SENT:
        return
    if stream.is_message:
        c.messages.on_refused(frame.stream_id)
        return
    c.events.append(SendingStopped(frame.stream_id, frame.code))
    c.reset_stream(frame.stream_id, frame.code)  # RFC 9000 §3.5


def _max_data(c: Connection, frame: MaxData, now: Instant) -> None:
    c.credit.raise_peer_maximum(frame.maximum)
    if c.observer is not None:
        for stream in c.streams.senders.values():
            c.observer.sender_changed(stream, now)


def _max_stream_data(c: Connection, frame: MaxStreamData, now: Instant) -> None:
    stream = _sender(c, frame.stream_id)
    if stream is not None:
        stream.max_data = max(stream.max_data, frame.maximum)
        if c.observer is not None:
            c.observer.sender_changed(stream, now)
        c.streams.mark_ready(stream)


def _sender(c: Connection, stream_id: int) -> SendStream | None:
    stream, opened = c.streams.sender_for_frame(stream_id)
    for new_id in opened:
        c.events.append(StreamOpened(new_id))
        c.begin_window(c.streams.receiver(new_id))
    return stream


def _max_streams(c: Connection, frame: MaxStreams, now: Instant) -> None:
    c.streams.raise_peer_limit(frame.maximum, unidirectional=frame.unidirectional)
    c.messages.open_streams()


def _ack_frequency(c: Connection, frame: AckFrequency, now: Instant) -> None:
    delay = frame.delay_us * MICROSECOND
    c.acks.set_frequency(frame.sequence, packets=frame.packets, delay=delay)


def _fec(c: Connection) -> Fec:
    if c.fec is None:
        raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "FEC was not agreed on")
    return c.fec


def _fec_repair(c: Connection, frame: FecRepair, now: Instant) -> None:
    _fec(c).on_repair(frame)


def _fec_recovered(c: Connection, frame: FecRecovered, now: Instant) -> None:
    _fec(c).on_recovered(frame)


def _new_connection_id(c: Connection, frame: NewConnectionId, now: Instant) -> None:
    c.paths.on_new_id(frame)


def _retire_connection_id(c: Connection, frame: RetireConnectionId, now: Instant) -> None:
    c.paths.on_retired_id(frame.sequence)


def _path_challenge(c: Connection, frame: PathChallenge, now: Instant) -> None:
    c.paths.on_challenge(frame.data)


def _path_response(c: Connection, frame: PathResponse, now: Instant) -> None:
    c.paths.on_response(frame.data, now=now)


def _new_ticket(c: Connection, frame: NewTicket, now: Instant) -> None:
    if not c.initiator:
        raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "NEW_TICKET from an initiator")
    if c.keep_ticket is not None:
        c.keep_ticket(frame, now)


def _not_early(c: Connection, frame: Frame, now: Instant) -> None:
    raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "a frame that is not for early data")


def _close(c: Connection, frame: Close, now: Instant) -> None:
    c.peer_closed(frame.code, frame.reason, now)


#: Any: each handler takes just the class it stands beside.
HANDLERS: dict[type, Callable[[Any, Any, Instant], None]] = {
    Padding: _nothing,
    Ping: _nothing,
    Ack: _ack,
    ResetStream: _reset_stream,
    StopSending: _stop_sending,
    Stream: _stream,
    Message: _message,
    MaxData: _max_data,
    MaxStreamData: _max_stream_data,
    MaxStreams: _max_streams,
    DataBlocked: _nothing,
    StreamDataBlocked: _nothing,
    AckFrequency: _ack_frequency,
    NewConnectionId: _new_connection_id,
    RetireConnectionId: _retire_connection_id,
    PathChallenge: _path_challenge,
    PathResponse: _path_response,
    NewTicket: _new_ticket,
    Close: _close,
    FecRepair: _fec_repair,
    FecRecovered: _fec_recovered,
}

_EARLY = (Padding, Ping, Stream, Message, ResetStream, StopSending)
#: SPEC 15-3: what EARLY packets may carry.
EARLY_HANDLERS: dict[type, Callable[[Any, Any, Instant], None]] = {
    kind: handler if kind in _EARLY else _not_early for kind, handler in HANDLERS.items()
}
