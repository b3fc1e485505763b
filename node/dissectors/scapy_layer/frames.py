# ruff: noqa: RUF012 (scapy reads class attributes called fields_desc, and they are lists)
"""Strait's frames as scapy packets (SPEC 5)."""

from __future__ import annotations

from scapy.fields import (
    ConditionalField,
    PacketListField,
)
from scapy.packet import Packet

from node.dissectors.scapy_layer.fields import (
    BytesField,
    CountedField,
    Item,
    MalformedError,
    PaddingField,
    RangesField,
    VarIntLenField,
    number_field,
    type_field,
)


class Frame(Item):
    """Base of all frames."""

    eliciting = True


class Padding(Frame):
    """0x00: one or many in a row."""

    name = "PADDING"
    eliciting = False
    fields_desc = [type_field(0x00), PaddingField("more")]


class Ping(Frame):
    """0x01."""

    name = "PING"
    fields_desc = [type_field(0x01)]


def _ecn_field(name: str) -> ConditionalField:
    return ConditionalField(number_field(name), lambda frame: frame.type & 0x01)


class Ack(Frame):
    """0x02, with ECN counts 0x03: RFC 9000 §19.3."""

    name = "ACK"
    eliciting = False
    fields_desc = [
        type_field(0x02),
        number_field("largest"),
        number_field("delay"),
        VarIntLenField("range_count", "ranges"),
        number_field("first_range"),
        RangesField("ranges"),
        *map(_ecn_field, ("ect0", "ect1", "ce")),
    ]

    def intervals(self) -> list[tuple[int, int]]:
        """Return the acknowledged numbers as (smallest, largest), largest first (MalformedError below 0)."""
        high = self.getfieldval("largest")
        low = high - self.getfieldval("first_range")
        found = [(low, high)]
        for gap, length in self.getfieldval("ranges"):
            low, high = low - gap - 2 - length, low - gap - 2
            found.append((low, high))
        if low < 0:
            raise MalformedError("5-1", f"{self.name}: a range starts at {low}")
        return found


class ResetStream(Frame):
    """0x04."""

    name = "RESET_STREAM"
    fields_desc = [type_field(0x04), *map(number_field, ("stream_id", "code", "final_size"))]


class StopSending(Frame):
    """0x05."""

    name = "STOP_SENDING"
    fields_desc = [type_field(0x05), number_field("stream_id"), number_field("code")]


class Stream(Frame):
    """0x08 to 0x0b: bit 0x01 FIN, bit 0x02 a length is there."""

    name = "STREAM"
    fields_desc = [
        type_field(0x0A),
        number_field("stream_id"),
        number_field("offset"),
        ConditionalField(VarIntLenField("length", "data"), lambda frame: frame.type & 0x02),
        CountedField("data", "length"),
    ]

    def do_dissect(self, s: bytes) -> bytes:
        """Dissect, and check what offset and data come to together."""
        rest: bytes = super().do_dissect(s)
        end = self.fields["offset"] + len(self.fields["data"])
        if end >= 1 << 62:
            raise MalformedError("5-7", f"STREAM: data up to {end}")
        return rest

    @property
    def fin(self) -> bool:
        """Whether the stream ends with this frame."""
        return bool(self.getfieldval("type") & 0x01)


class Message(Stream):
    """0x0c to 0x0f: as STREAM, on a stream that is one message (SPEC 6.2)."""

    name = "MESSAGE"
    fields_desc = [type_field(0x0E), *Stream.fields_desc[1:]]


class MaxData(Frame):
    """0x10."""

    name = "MAX_DATA"
    fields_desc = [type_field(0x10), number_field("maximum")]


class MaxStreamData(Frame):
    """0x11."""

    name = "MAX_STREAM_DATA"
    fields_desc = [type_field(0x11), number_field("stream_id"), number_field("maximum")]


class MaxStreams(Frame):
    """0x12 bidirectional, 0x13 unidirectional."""

    name = "MAX_STREAMS"
    fields_desc = [type_field(0x12), number_field("maximum")]


class DataBlocked(Frame):
    """0x14."""

    name = "DATA_BLOCKED"
    fields_desc = [type_field(0x14), number_field("limit")]


class StreamDataBlocked(Frame):
    """0x15."""

    name = "STREAM_DATA_BLOCKED"
    fields_desc = [type_field(0x15), number_field("stream_id"), number_field("limit")]


class AckFrequency(Frame):
    """0x16."""

    name = "ACK_FREQUENCY"
    fields_desc = [type_field(0x16), *map(number_field, ("sequence", "packets", "delay"))]


class NewConnectionId(Frame):
    """0x18."""

    name = "NEW_CONNECTION_ID"
    fields_desc = [
        type_field(0x18),
        *map(number_field, ("sequence", "retire_prior_to")),
        BytesField("connection_id", 8),
        BytesField("reset_token", 16),
    ]


class RetireConnectionId(Frame):
    """0x19."""

    name = "RETIRE_CONNECTION_ID"
    fields_desc = [type_field(0x19), number_field("sequence")]


class PathChallenge(Frame):
    """0x1a."""

    name = "PATH_CHALLENGE"
    fields_desc = [type_field(0x1A), BytesField("data", 8)]


class PathResponse(Frame):
    """0x1b."""

    name = "PATH_RESPONSE"
    fields_desc = [type_field(0x1B), BytesField("data", 8)]


class Close(Frame):
    """0x1c."""

    name = "CLOSE"
    eliciting = False
    fields_desc = [
        type_field(0x1C),
        number_field("code"),
        VarIntLenField("reason_length", "reason"),
        CountedField("reason", "reason_length"),
    ]


class FecRepair(Frame):
    """0x30: repair symbol of a block (SPEC 12.1)."""

    name = "FEC_REPAIR"
    fields_desc = [
        type_field(0x30),
        number_field("scheme"),
        number_field("first"),
        VarIntLenField("range_count", "ranges"),
        number_field("first_range"),
        RangesField("ranges"),
        number_field("total"),
        number_field("index"),
        CountedField("symbol", "none: to the end"),
    ]

    def intervals(self) -> list[tuple[int, int]]:
        """Return the numbers of the block's packets as (smallest, largest), smallest first.

        Raises:
            MalformedError: there are too many of them or of the repair symbols, or they end too high.
        """
        low = self.getfieldval("first")
        high = low + self.getfieldval("first_range")
        found = [(low, high)]
        for gap, length in self.getfieldval("ranges"):
            low = high + gap + 2
            high = low + length
            found.append((low, high))
        packets = sum(high - low + 1 for low, high in found)
        if len(found) > 8 or packets > 128 or high >= 1 << 62:
            raise MalformedError("12.1-2", f"FEC_REPAIR of {packets} packets in {len(found)} ranges")
        total, index = self.getfieldval("total"), self.getfieldval("index")
        if total > 32 or index >= total:
            raise MalformedError("12.2-1", f"FEC_REPAIR: symbol {index} of {total}")
        return found


class FecRecovered(Ack):
    """0x31: packets whose payloads were rebuilt; ranges as in ACK (SPEC 12.4)."""

    name = "FEC_RECOVERED"
    eliciting = True
    fields_desc = [
        type_field(0x31),
        number_field("largest"),
        VarIntLenField("range_count", "ranges"),
        number_field("first_range"),
        RangesField("ranges"),
    ]


class NewTicket(Frame):
    """0x20 (SPEC 15-2)."""

    name = "NEW_TICKET"
    fields_desc = [
        type_field(0x20),
        number_field("lifetime"),
        BytesField("secret", 32),
        VarIntLenField("ticket_length", "ticket"),
        CountedField("ticket", "ticket_length"),
    ]

    def do_dissect(self, data: bytes) -> bytes:
        """Dissect, and hold the ticket to its length."""
        rest = super().do_dissect(data)
        if not 0 < len(self.ticket) <= _MAX_TICKET:
            raise MalformedError("15-2", f"NEW_TICKET: a ticket of {len(self.ticket)} bytes")
        return bytes(rest)


#: SPEC 15-2.
_MAX_TICKET = 512

_ONE_TYPE = (
    *(Padding, Ping, Ack, ResetStream, StopSending, MaxData, DataBlocked, StreamDataBlocked),
    *(NewConnectionId, RetireConnectionId, PathChallenge, PathResponse, Close),
)
FRAME_TYPES: dict[int, type[Frame]] = {
    **{
        frame.fields_desc[0].default: frame
        for frame in (*_ONE_TYPE, MaxStreamData, AckFrequency, NewTicket, FecRepair, FecRecovered)
    },
    **dict.fromkeys(range(0x08, 0x0C), Stream),
    **dict.fromkeys(range(0x0C, 0x10), Message),
    **dict.fromkeys((0x12, 0x13), MaxStreams),
    0x03: Ack,
}


def dissect_frames(payload: bytes) -> list[Frame]:
    """Return the frames of a payload in clear (MalformedError if it is not a sequence of at least one)."""
    frames: list[Frame] = []
    while payload or not frames:
        frame, payload = dissect_frame(payload)
        frames.append(frame)
    return frames


def dissect_frame(payload: bytes) -> tuple[Frame, bytes]:
    """Return the first frame of a payload in clear, and the rest (MalformedError if there is none)."""
    if not payload:
        raise MalformedError("5-1", "a packet without frames")
    kind = FRAME_TYPES.get(payload[0])
    if kind is None:
        raise MalformedError("5-1", f"unknown frame type 0x{payload[0]:02x}")
    frame = kind()
    # The fields only: what scapy's full dissection adds (payload layers, copies) costs five times that.
    rest: bytes = frame.do_dissect(payload)
    return frame, rest


class Frames(Packet):
    """The payload of a Data packet, in clear."""

    name = "Strait frames"
    fields_desc = [PacketListField("frames", [], Frame)]

    def do_dissect(self, data: bytes) -> bytes:
        """Dissect all of ``data`` as frames."""
        self.fields["frames"] = dissect_frames(data)
        return b""
