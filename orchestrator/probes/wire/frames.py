"""Frames of a payload in clear: STREAM, MESSAGE and ACK, nearly all there are, by hand; all others by scapy.

Scapy's packets of them took more time than all else that is done with a DATA packet. What cannot be read here
scapy reads, or refuses: so what is malformed scapy alone says, and a test holds both to the same results.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from node.dissectors.scapy_layer import (
    Ack,
    FecRecovered,
    Frame,
    MalformedError,
    Message,
    Stream,
    dissect_frame,
)

_MASKS = (0x3F, 0x3FFF, 0x3FFF_FFFF, (1 << 62) - 1)
_ACK, _ACK_ECN = 0x02, 0x03
_STREAM, _MESSAGE, _STREAMS_END = 0x08, 0x0C, 0x10
_FIN, _LENGTH = 0x01, 0x02


@dataclass(slots=True, eq=False)
class StreamFrame:
    """A STREAM or MESSAGE frame: bytes [offset, end) of a stream."""

    stream: int
    offset: int
    end: int
    data: bytes
    fin: bool
    is_message: bool

    eliciting: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The frame's name in SPEC.md."""
        return "MESSAGE" if self.is_message else "STREAM"


@dataclass(slots=True, eq=False)
class AckFrame:
    """An ACK frame: numbers as (smallest, largest), largest first; delay in µs; ECT(0), ECT(1), CE."""

    intervals: list[tuple[int, int]]
    delay: int
    counts: tuple[int, int, int] | None

    eliciting: ClassVar[bool] = False
    name: ClassVar[str] = "ACK"


#: An ACK whose ranges go below 0 stays scapy's: who asks it for them is told.
AnyFrame: TypeAlias = StreamFrame | AckFrame | Frame


def read_frames(payload: bytes) -> list[AnyFrame]:
    """Return the frames of a payload in clear (MalformedError if it is not a sequence of at least one)."""
    frames: list[AnyFrame] = []
    at, size = 0, len(payload)
    while at < size or not frames:
        frame, end = _read_here(payload, at)
        if frame is None or end > size:
            dissected, rest = dissect_frame(payload[at:])
            frame, end = _plain(dissected), size - len(rest)
        frames.append(frame)
        at = end
    return frames


def _read_here(payload: bytes, at: int) -> tuple[AnyFrame | None, int]:
    """Return a frame and where it ends; None, or behind the payload: it is another, or malformed."""
    try:
        kind = payload[at]
        if _STREAM <= kind < _STREAMS_END:
            return _stream(payload, kind, at + 1)
        if kind in (_ACK, _ACK_ECN):
            return _ack(payload, kind, at + 1)
    except IndexError:
        pass
    return None, at


def _stream(payload: bytes, kind: int, at: int) -> tuple[AnyFrame | None, int]:
    stream, at = _varint(payload, at)
    offset, at = _varint(payload, at)
    if kind & _LENGTH:
        length, at = _varint(payload, at)
        end = at + length
    else:
        # Cut off within the numbers: not even the empty rest is its data.
        end = max(at, len(payload))
    stop = offset + end - at
    if stop >= 1 << 62:
        return None, end
    return StreamFrame(stream, offset, stop, payload[at:end], bool(kind & _FIN), kind >= _MESSAGE), end


def _ack(payload: bytes, kind: int, at: int) -> tuple[AnyFrame | None, int]:
    high, at = _varint(payload, at)
    delay, at = _varint(payload, at)
    count, at = _varint(payload, at)
    length, at = _varint(payload, at)
    low = high - length
    intervals = [(low, high)]
    for _ in range(count):
        gap, at = _varint(payload, at)
        length, at = _varint(payload, at)
        high = low - gap - 2
        low = high - length
        intervals.append((low, high))
    counts = None
    if kind == _ACK_ECN:
        ect0, at = _varint(payload, at)
        ect1, at = _varint(payload, at)
        ce, at = _varint(payload, at)
        counts = ect0, ect1, ce
    if low < 0:
        return None, at
    return AckFrame(intervals, delay, counts), at


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    """Return an integer (RFC 9000 §16) and where it ends: behind the payload (or IndexError), if cut off."""
    first = payload[at]
    if first < 0x40:
        return first, at + 1
    power = first >> 6
    end = at + (1 << power)
    return int.from_bytes(payload[at:end], "big") & _MASKS[power], end


def _plain(frame: Frame) -> AnyFrame:
    """Return what is read here in the same form if scapy has read it."""
    fields = frame.fields
    if isinstance(frame, Stream):
        offset, data = fields["offset"], fields["data"]
        place = fields["stream_id"], offset, offset + len(data)
        return StreamFrame(*place, data, frame.fin, isinstance(frame, Message))
    if isinstance(frame, Ack) and not isinstance(frame, FecRecovered):
        counts = (fields["ect0"], fields["ect1"], fields["ce"]) if fields["type"] & 1 else None
        try:
            return AckFrame(frame.intervals(), fields["delay"], counts)
        except MalformedError:
            return frame
    return frame
