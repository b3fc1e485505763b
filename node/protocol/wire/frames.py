"""Frames (SPEC 5): one frozen dataclass each, one table from type to parser.

Bulk stream data has a path of its own (``packet_builder``, ``data_receiver``) that yields the same
bytes; everything else goes through here. Decoding checks every length once, at this border.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from node.protocol.ecn import EcnCounts
from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.identity import RESET_TOKEN_BYTES
from node.protocol.wire.fec_frames import (
    FecRecovered,
    FecRepair,
    parse_fec_recovered,
    parse_fec_repair,
)
from node.protocol.wire.parameters import CONNECTION_ID_BYTES, MAX_TICKET_BYTES
from node.protocol.wire.varint import decode_varint, decode_varints, encode_varint, encode_varints

#: SPEC 5-3: a receiver reports at most this many ranges.
MAX_ACK_RANGES = 64
MAX_REASON_BYTES = 512
#: RFC 9000 §19.17.
CHALLENGE_BYTES = 8
TICKET_SECRET_BYTES = 32

Data: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Padding:
    """Nothing (0x00); a run of it is one of these, since packets that probe a path are mostly padding."""

    count: int = 1

    def encode(self) -> bytes:
        return bytes(self.count)


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for an acknowledgement (0x01)."""

    def encode(self) -> bytes:
        return b"\x01"


@dataclass(frozen=True, slots=True)
class Ack:
    """Acknowledges packet numbers (0x02; 0x03 with ECN counts)."""

    #: Half-open ranges ``[start, end)`` of packet numbers, highest first, disjoint and not touching.
    ranges: tuple[tuple[int, int], ...]
    #: How long the largest one waited at the receiver, in µs.
    delay_us: int
    #: Packets received so far that were marked (RFC 9000 §19.3.2); None: none ever was.
    ecn: EcnCounts | None = None

    def encode(self) -> bytes:
        start, end = self.ranges[0]
        kind = 0x02 if self.ecn is None else 0x03
        values = [kind, end - 1, self.delay_us, len(self.ranges) - 1, end - 1 - start]
        for low, high in self.ranges[1:]:
            # RFC 9000 §19.3.1: gap and length are each one less than what they count.
            values += (start - high - 1, high - 1 - low)
            start = low
        if self.ecn is not None:
            values += self.ecn
        return encode_varints(*values)


@dataclass(frozen=True, slots=True)
class ResetStream:
    """The sender gave up (0x04)."""

    stream_id: int
    code: int
    final_size: int

    def encode(self) -> bytes:
        return _encode(0x04, self.stream_id, self.code, self.final_size)


@dataclass(frozen=True, slots=True)
class StopSending:
    """The receiver does not want more (0x05)."""

    stream_id: int
    code: int

    def encode(self) -> bytes:
        return _encode(0x05, self.stream_id, self.code)


def encode_stream(kind: int, stream_id: int, offset: int, data: Data, fin: bool) -> bytes:
    """Return a STREAM or MESSAGE frame that says its length: what a sender needs no object for."""
    return encode_varints(kind | fin | 0x02, stream_id, offset, len(data)) + bytes(data)


@dataclass(frozen=True, slots=True)
class Stream:
    """Data of a stream (0x08-0x0b)."""

    stream_id: int
    offset: int
    data: Data
    fin: bool = False
    #: Whether the frame says its length; without, it reaches to the end of the packet.
    has_length: bool = True
    KIND: ClassVar[int] = 0x08

    def encode(self) -> bytes:
        if self.has_length:
            return encode_stream(self.KIND, self.stream_id, self.offset, self.data, self.fin)
        return encode_varints(self.KIND | self.fin, self.stream_id, self.offset) + bytes(self.data)


@dataclass(frozen=True, slots=True)
class Message(Stream):
    """A piece of a message, which is all that its stream carries (0x0c-0x0f)."""

    KIND: ClassVar[int] = 0x0C


@dataclass(frozen=True, slots=True)
class MaxData:
    """Credit for the whole connection (0x10)."""

    maximum: int

    def encode(self) -> bytes:
        return _encode(0x10, self.maximum)


@dataclass(frozen=True, slots=True)
class MaxStreamData:
    """Credit for one stream (0x11)."""

    stream_id: int
    maximum: int

    def encode(self) -> bytes:
        return _encode(0x11, self.stream_id, self.maximum)


@dataclass(frozen=True, slots=True)
class MaxStreams:
    """How many streams the peer may have opened in all (0x12, 0x13)."""

    maximum: int
    unidirectional: bool

    def encode(self) -> bytes:
        return _encode(0x13 if self.unidirectional else 0x12, self.maximum)


@dataclass(frozen=True, slots=True)
class DataBlocked:
    """The connection's credit is used up (0x14)."""

    limit: int

    def encode(self) -> bytes:
        return _encode(0x14, self.limit)


@dataclass(frozen=True, slots=True)
class StreamDataBlocked:
    """A stream's credit is used up (0x15)."""

    stream_id: int
    limit: int

    def encode(self) -> bytes:
        return _encode(0x15, self.stream_id, self.limit)


@dataclass(frozen=True, slots=True)
class AckFrequency:
    """How often the sender of this frame wants acknowledgements (0x16)."""

    #: Rises with each frame; an older one that comes late is ignored.
    sequence: int
    #: Acknowledge at once when so many ack-eliciting packets wait.
    packets: int
    #: ... or when the first of them has waited so long, in µs.
    delay_us: int

    def encode(self) -> bytes:
        return _encode(0x16, self.sequence, self.packets, self.delay_us)


@dataclass(frozen=True, slots=True)
class NewConnectionId:
    """A further connection ID of the sender's (0x18)."""

    #: Counts the IDs that an end issues; the handshake's is 0.
    sequence: int
    #: IDs with lower numbers are to be used no more.
    retire_prior_to: int
    connection_id: bytes
    #: Proves, alone in a packet, that the sender has forgotten the connection (SPEC 4.3).
    reset_token: bytes

    def encode(self) -> bytes:
        return _encode(0x18, self.sequence, self.retire_prior_to) + self.connection_id + self.reset_token


@dataclass(frozen=True, slots=True)
class RetireConnectionId:
    """The sender will use an ID of the receiver's no more (0x19)."""

    sequence: int

    def encode(self) -> bytes:
        return _encode(0x19, self.sequence)


@dataclass(frozen=True, slots=True)
class PathChallenge:
    """Asks for its data back, over the path it came on (0x1a)."""

    data: bytes

    def encode(self) -> bytes:
        return b"\x1a" + self.data


@dataclass(frozen=True, slots=True)
class PathResponse:
    """Answers a challenge (0x1b)."""

    data: bytes

    def encode(self) -> bytes:
        return b"\x1b" + self.data


@dataclass(frozen=True, slots=True)
class NewTicket:
    """What its receiver needs to send early data when it comes back (0x20, SPEC 15-2)."""

    #: For how long, in seconds.
    lifetime: int
    #: 32 bytes that early data is protected with.
    secret: bytes = field(repr=False)
    #: What the giver alone can read.
    ticket: bytes = field(repr=False)

    def encode(self) -> bytes:
        return _encode(0x20, self.lifetime) + self.secret + encode_varint(len(self.ticket)) + self.ticket


@dataclass(frozen=True, slots=True)
class Close:
    """The connection is over (0x1c)."""

    code: int
    reason: str

    def encode(self) -> bytes:
        reason = self.reason.encode(errors="replace")[:MAX_REASON_BYTES]
        reason = reason.decode(errors="ignore").encode()  # not in the middle of a character
        return _encode(0x1C, self.code, len(reason)) + reason


Frame: TypeAlias = (
    Padding
    | Ping
    | Ack
    | ResetStream
    | StopSending
    | Stream
    | Message
    | MaxData
    | MaxStreamData
    | MaxStreams
    | DataBlocked
    | StreamDataBlocked
    | AckFrequency
    | NewConnectionId
    | RetireConnectionId
    | PathChallenge
    | PathResponse
    | NewTicket
    | Close
    | FecRepair
    | FecRecovered
)

#: Frames that do not ask for an acknowledgement (SPEC 5).
NON_ELICITING = (Padding, Ack, Close)
#: Frames that say nothing of where the peer is now: it may only be looking (RFC 9000 §9.1).
PROBING = (Padding, NewConnectionId, PathChallenge, PathResponse)


def parse_frames(payload: memoryview) -> list[Frame]:
    """Return the frames of a packet's payload.

    Raises:
        RemoteProtocolError: a frame is truncated or unknown, or there is none (SPEC 5-1).
    """
    if not payload:
        raise RemoteProtocolError(ErrorCode.FRAME_ENCODING, "packet without a frame")
    found: list[Frame] = []
    position, end = 0, len(payload)
    while position < end:
        kind = payload[position]
        parser = _PARSERS.get(kind)
        if parser is None:
            raise RemoteProtocolError(ErrorCode.FRAME_ENCODING, f"unknown frame type {kind:#04x}")
        frame, position = parser(payload, position + 1, kind)
        found.append(frame)
    return found


def _encode(kind: int, *values: int) -> bytes:
    return encode_varints(kind, *values)  # all types are less than 64: integers of one byte


def _parse_ack(data: memoryview, position: int, kind: int) -> tuple[Frame, int]:
    (largest, delay, count, length), position = decode_varints(data, position, 4)
    if count >= MAX_ACK_RANGES:
        raise RemoteProtocolError(ErrorCode.FRAME_ENCODING, f"{count + 1} ranges in an ACK")
    start = largest - length
    ranges = [(start, largest + 1)]
    found, position = decode_varints(data, position, 2 * count)
    for gap, length in zip(found[::2], found[1::2], strict=True):
        end = start - gap - 1
        start = end - 1 - length
        ranges.append((start, end))
    if start < 0:
        raise RemoteProtocolError(ErrorCode.FRAME_ENCODING, "ACK range below zero")
    counts: EcnCounts | None = None
    if kind == 0x03:
        (ect0, ect1, ce), position = decode_varints(data, position, 3)
        counts = (ect0, ect1, ce)
    return Ack(tuple(ranges), delay, counts), position


def _parse_stream(data: memoryview, position: int, kind: int) -> tuple[Frame, int]:
    end = len(data)
    if kind & 0x02:
        (stream_id, offset, length), position = decode_varints(data, position, 3)
        end = position + length
        if end > len(data):
            raise RemoteProtocolError(ErrorCode.FRAME_ENCODING, "truncated STREAM frame")
    else:
        (stream_id, offset), position = decode_varints(data, position, 2)
    if offset + (end - position) >= 1 << 62:  # SPEC 5-7
        raise RemoteProtocolError(ErrorCode.FRAME_ENCODING, "stream offset beyond 2^62")
    make = Message if kind & 0x04 else Stream
    frame = make(stream_id, offset, data[position:end], bool(kind & 0x01), bool(kind & 0x02))
    return frame, end


def _parse_close(data: memoryview, position: int, kind: int) -> tuple[Frame, int]:
    code, position = decode_varint(data, position)
    length, position = decode_varint(data, position)
    end = position + length
    if end > len(data):
        raise RemoteProtocolError(ErrorCode.FRAME_ENCODING, "truncated CLOSE frame")
    try:
        reason = bytes(data[position:end]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(ErrorCode.FRAME_ENCODING, "CLOSE reason is not UTF-8") from error
    return Close(code, reason), end


def _parse_new_connection_id(data: memoryview, position: int, kind: int) -> tuple[Frame, int]:
    sequence, position = decode_varint(data, position)
    retire_prior_to, position = decode_varint(data, position)
    token = position + CONNECTION_ID_BYTES
    connection_id, reset_token = _bytes(data, position, token), _bytes(data, token, token + RESET_TOKEN_BYTES)
    frame = NewConnectionId(sequence, retire_prior_to, connection_id, reset_token)
    return frame, token + RESET_TOKEN_BYTES


def _parse_path(data: memoryview, position: int, kind: int) -> tuple[Frame, int]:
    found = _bytes(data, position, position + CHALLENGE_BYTES)
    return (PathChallenge if kind == 0x1A else PathResponse)(found), position + CHALLENGE_BYTES


def _bytes(data: memoryview, start: int, end: int) -> bytes:
    if end > len(data):
        raise RemoteProtocolError(ErrorCode.FRAME_ENCODING, "truncated frame")
    return bytes(data[start:end])


def _parse_new_ticket(data: memoryview, position: int, kind: int) -> tuple[Frame, int]:
    lifetime, position = decode_varint(data, position)
    start = position + TICKET_SECRET_BYTES
    if start >= len(data):
        raise RemoteProtocolError(ErrorCode.FRAME_ENCODING, "truncated NEW_TICKET frame")
    length, begin = decode_varint(data, start)
    end = begin + length
    if end > len(data) or not 0 < length <= MAX_TICKET_BYTES:
        raise RemoteProtocolError(ErrorCode.FRAME_ENCODING, "truncated NEW_TICKET frame")
    return NewTicket(lifetime, bytes(data[position:start]), bytes(data[begin:end])), end


def _parse_padding(data: memoryview, position: int, kind: int) -> tuple[Frame, int]:
    rest = len(bytes(data[position:]).lstrip(b"\x00"))
    return Padding(len(data) - rest - position + 1), len(data) - rest


def _parse_ping(data: memoryview, position: int, kind: int) -> tuple[Frame, int]:
    return Ping(), position


def _parse_max_streams(data: memoryview, position: int, kind: int) -> tuple[Frame, int]:
    maximum, position = decode_varint(data, position)
    return MaxStreams(maximum, kind == 0x13), position


_Parser: TypeAlias = Callable[[memoryview, int, int], tuple[Frame, int]]


def _numbers(make: Callable[..., Frame], count: int) -> _Parser:
    def parse(data: memoryview, position: int, kind: int) -> tuple[Frame, int]:
        values, position = decode_varints(data, position, count)
        return make(*values), position

    return parse


_PARSERS: dict[int, _Parser] = {
    0x00: _parse_padding,
    0x01: _parse_ping,
    0x02: _parse_ack,
    0x03: _parse_ack,
    0x04: _numbers(ResetStream, 3),
    0x05: _numbers(StopSending, 2),
    0x08: _parse_stream,
    0x09: _parse_stream,
    0x0A: _parse_stream,
    0x0B: _parse_stream,
    **dict.fromkeys(range(0x0C, 0x10), _parse_stream),
    0x10: _numbers(MaxData, 1),
    0x11: _numbers(MaxStreamData, 2),
    0x12: _parse_max_streams,
    0x13: _parse_max_streams,
    0x14: _numbers(DataBlocked, 1),
    0x15: _numbers(StreamDataBlocked, 2),
    0x16: _numbers(AckFrequency, 3),
    0x18: _parse_new_connection_id,
    0x19: _numbers(RetireConnectionId, 1),
    0x1A: _parse_path,
    0x1B: _parse_path,
    0x1C: _parse_close,
    0x20: _parse_new_ticket,
    0x30: parse_fec_repair,
    0x31: parse_fec_recovered,
}
