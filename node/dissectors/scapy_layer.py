# ruff: noqa: RUF012 (scapy reads class attributes called fields_desc, and they are lists)
"""Strait as scapy packets: a second implementation of SPEC.md's wire format, to build and to dissect.

``SetUp`` and ``Data`` are bound to UDP port 4433. What a Data packet holds is protected: :func:`unprotect`
turns it into ``Data / Frames``, given a key log's line, and :func:`protect` goes back.

    >>> datagram = protect(Data(target_cid=7) / Frames(frames=[Ping(), MaxData(maximum=9)]), "aead", key)
    >>> unprotect(Data(datagram), "aead", key).show()

Dissecting raises :class:`MalformedError` where the specification is broken; scapy itself then shows ``Raw``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scapy.error import Scapy_Exception
from scapy.fields import (
    ConditionalField,
    Field,
    FieldLenField,
    IntField,
    PacketListField,
    StrField,
    StrLenField,
    XByteEnumField,
    XByteField,
    XIntField,
    XLongField,
)
from scapy.layers.inet import UDP
from scapy.packet import Packet, Raw, bind_bottom_up, bind_top_down

from node.dissectors import protection
from node.dissectors.varint import decode_varint, encode_varint

PORT = 4433
VERSION = 0x5354_5201
SETUP_BYTES = 1200
SETUP_HEADER_BYTES = 43
INITIATION, RESPONSE, DATA = 0xC1, 0xC2, 0x41


class MalformedError(Scapy_Exception):
    """Bytes that are not Strait; ``rule`` is the specification's."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


# --------------------------------------------------------------------------------------- fields


class VarIntField(Field):
    """A variable-length integer (RFC 9000 §16); built in its shortest form."""

    def __init__(self, name: str, default: int | None) -> None:
        super().__init__(name, default, "B")

    def getfield(self, packet: Packet, data: bytes) -> tuple[bytes, int]:
        """Split the integer off ``data``."""
        try:
            return decode_varint(data)
        except ValueError as error:
            raise MalformedError("5-1", f"{packet.name}: {self.name} {error}") from None

    def addfield(self, packet: Packet, data: bytes, value: int | None) -> bytes:
        """Append the integer to ``data``."""
        return data + encode_varint(self.i2m(packet, value))

    def i2m(self, packet: Packet, value: Any) -> int:
        """Return the number to build: what a length counts, if it was left open."""
        return 0 if value is None else int(value)


class VarIntLenField(VarIntField):
    """The length of another field, computed when it is left open."""

    __slots__ = ["length_of"]

    def __init__(self, name: str, length_of: str) -> None:
        super().__init__(name, None)
        self.length_of = length_of

    def i2m(self, packet: Packet, value: Any) -> int:
        """Return the length."""
        return int(value) if value is not None else len(packet.getfieldval(self.length_of))


class CountedField(StrField):
    """Bytes that take the length another field of the frame has told; None: all there are."""

    __slots__ = ["length_from"]

    def __init__(self, name: str, length_from: str) -> None:
        super().__init__(name, b"")
        self.length_from = length_from

    def getfield(self, packet: Packet, data: bytes) -> tuple[bytes, bytes]:
        """Split the bytes off ``data``."""
        size = packet.fields.get(self.length_from)
        if size is None:
            return b"", data
        if size > len(data):
            raise MalformedError("5-1", f"{packet.name}: {self.name} of {size} bytes, {len(data)} are there")
        return data[size:], data[:size]


class RangesField(Field):
    """The (gap, length) pairs of an ACK (RFC 9000 §19.3.1), as many as ``range_count`` tells."""

    islist = 1

    def __init__(self, name: str) -> None:
        super().__init__(name, [], "B")

    def getfield(self, packet: Packet, data: bytes) -> tuple[bytes, list[tuple[int, int]]]:
        """Split the pairs off ``data``."""
        count = packet.fields["range_count"]
        if 2 * count > len(data):
            raise MalformedError("5-1", f"ACK: {count} ranges in {len(data)} bytes")
        pairs = []
        for _ in range(count):
            data, gap = _GAP.getfield(packet, data)
            data, length = _LENGTH.getfield(packet, data)
            pairs.append((gap, length))
        return data, pairs

    def addfield(self, packet: Packet, data: bytes, value: Iterable[tuple[int, int]]) -> bytes:
        """Append the pairs to ``data``."""
        return data + b"".join(encode_varint(gap) + encode_varint(length) for gap, length in value)


class PaddingField(Field):
    """A run of zero bytes as one number: the count of PADDING frames behind the first."""

    def __init__(self, name: str) -> None:
        super().__init__(name, 0, "B")

    def getfield(self, packet: Packet, data: bytes) -> tuple[bytes, int]:
        """Split the run off ``data``."""
        rest = data.lstrip(b"\0")
        return rest, len(data) - len(rest)

    def addfield(self, packet: Packet, data: bytes, value: int) -> bytes:
        """Append the run to ``data``."""
        return data + bytes(value)


_GAP = _LENGTH = VarIntField("range", 0)


# --------------------------------------------------------------------------------------- frames


class Item(Packet):
    """One of a list: what follows it is the next one, never its payload."""

    def extract_padding(self, data: bytes) -> tuple[bytes, bytes]:
        """Leave what follows to the list."""
        return b"", data


class Frame(Item):
    """Base of all frames."""

    eliciting = True


def _type(value: int) -> XByteField:
    return XByteField("type", value)


def _number(name: str) -> VarIntField:
    return VarIntField(name, 0)


class Padding(Frame):
    """0x00: one or many in a row."""

    name = "PADDING"
    eliciting = False
    fields_desc = [_type(0x00), PaddingField("more")]


class Ping(Frame):
    """0x01."""

    name = "PING"
    fields_desc = [_type(0x01)]


class Ack(Frame):
    """0x02: RFC 9000 §19.3.1."""

    name = "ACK"
    eliciting = False
    fields_desc = [
        _type(0x02),
        _number("largest"),
        _number("delay"),
        VarIntLenField("range_count", "ranges"),
        _number("first_range"),
        RangesField("ranges"),
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
            raise MalformedError("5-1", f"ACK: a range starts at {low}")
        return found


class ResetStream(Frame):
    """0x04."""

    name = "RESET_STREAM"
    fields_desc = [_type(0x04), *map(_number, ("stream_id", "code", "final_size"))]


class StopSending(Frame):
    """0x05."""

    name = "STOP_SENDING"
    fields_desc = [_type(0x05), _number("stream_id"), _number("code")]


class Stream(Frame):
    """0x08 to 0x0b: bit 0x01 FIN, bit 0x02 a length is there."""

    name = "STREAM"
    fields_desc = [
        _type(0x0A),
        _number("stream_id"),
        _number("offset"),
        ConditionalField(VarIntLenField("length", "data"), lambda frame: frame.type & 0x02),
        CountedField("data", "length"),
    ]

    @property
    def fin(self) -> bool:
        """Whether the stream ends with this frame."""
        return bool(self.getfieldval("type") & 0x01)


class MaxData(Frame):
    """0x10."""

    name = "MAX_DATA"
    fields_desc = [_type(0x10), _number("maximum")]


class MaxStreamData(Frame):
    """0x11."""

    name = "MAX_STREAM_DATA"
    fields_desc = [_type(0x11), _number("stream_id"), _number("maximum")]


class MaxStreams(Frame):
    """0x12 bidirectional, 0x13 unidirectional."""

    name = "MAX_STREAMS"
    fields_desc = [_type(0x12), _number("maximum")]


class DataBlocked(Frame):
    """0x14."""

    name = "DATA_BLOCKED"
    fields_desc = [_type(0x14), _number("limit")]


class StreamDataBlocked(Frame):
    """0x15."""

    name = "STREAM_DATA_BLOCKED"
    fields_desc = [_type(0x15), _number("stream_id"), _number("limit")]


class AckFrequency(Frame):
    """0x16."""

    name = "ACK_FREQUENCY"
    fields_desc = [_type(0x16), *map(_number, ("sequence", "packets", "delay"))]


class Close(Frame):
    """0x1c."""

    name = "CLOSE"
    eliciting = False
    fields_desc = [
        _type(0x1C),
        _number("code"),
        VarIntLenField("reason_length", "reason"),
        CountedField("reason", "reason_length"),
    ]


_ONE_TYPE = (Padding, Ping, Ack, ResetStream, StopSending, MaxData, DataBlocked, StreamDataBlocked, Close)
FRAME_TYPES: dict[int, type[Frame]] = {
    **{frame.fields_desc[0].default: frame for frame in (*_ONE_TYPE, MaxStreamData, AckFrequency)},
    **dict.fromkeys(range(0x08, 0x0C), Stream),
    **dict.fromkeys((0x12, 0x13), MaxStreams),
}


def dissect_frames(payload: bytes) -> list[Frame]:
    """Return the frames of a payload in clear (MalformedError if it is not a sequence of at least one)."""
    if not payload:
        raise MalformedError("5-1", "a packet without frames")
    frames: list[Frame] = []
    while payload:
        kind = FRAME_TYPES.get(payload[0])
        if kind is None:
            raise MalformedError("5-1", f"unknown frame type 0x{payload[0]:02x}")
        frame = kind()
        # The fields only: what scapy's full dissection adds (payload layers, copies) costs five times that.
        payload = frame.do_dissect(payload)
        frames.append(frame)
    return frames


class Frames(Packet):
    """The payload of a Data packet, in clear."""

    name = "Strait frames"
    fields_desc = [PacketListField("frames", [], Frame)]

    def do_dissect(self, data: bytes) -> bytes:
        """Dissect all of ``data`` as frames."""
        self.fields["frames"] = dissect_frames(data)
        return b""


# -------------------------------------------------------------------------------------- packets


def _padding_bytes(packet: Packet) -> int:
    return len(packet.original) - SETUP_HEADER_BYTES - int(packet.noise_length) - 4


class SetUp(Packet):
    """INITIATION and RESPONSE (SPEC 3): padded to 1200 bytes, with a CRC-32C; both computed if left open."""

    name = "Strait set-up"
    fields_desc = [
        XByteEnumField("type", INITIATION, {INITIATION: "INITIATION", RESPONSE: "RESPONSE"}),
        XIntField("version", VERSION),
        XLongField("target_address", 0),
        XLongField("source_address", 0),
        XLongField("target_cid", 0),
        XLongField("source_cid", 0),
        IntField("packet_number", 0),
        FieldLenField("noise_length", None, length_of="noise", fmt="!H"),
        StrLenField("noise", b"", length_from=lambda packet: packet.noise_length),
        StrLenField("padding", None, length_from=_padding_bytes),
        XIntField("crc", None),
    ]

    def do_dissect(self, data: bytes) -> bytes:
        """Dissect, after the lengths have been checked."""
        if len(data) < SETUP_HEADER_BYTES + 4:
            raise MalformedError("3-1", f"a set-up packet of {len(data)} bytes")
        size = int.from_bytes(data[41:43], "big")
        if SETUP_HEADER_BYTES + size + 4 > len(data):
            raise MalformedError("3", f"a Noise message of {size} bytes in a packet of {len(data)}")
        return super().do_dissect(data)

    def post_build(self, built: bytes, payload: bytes) -> bytes:
        """Pad to 1200 bytes and compute the CRC, where they were left open."""
        crc = built[-4:]
        body = built[:-4]
        if self.padding is None:
            body += bytes(SETUP_BYTES - 4 - len(body))
        if self.crc is None:
            crc = protection.crc32c(body).to_bytes(4, "big")
        return body + crc + payload


class Data(Packet):
    """A DATA packet (SPEC 4): the header; the payload is Protected, or Frames after :func:`unprotect`."""

    name = "Strait data"
    fields_desc = [
        XByteEnumField("type", DATA, {DATA: "DATA"}),
        XLongField("target_cid", 0),
        IntField("packet_number", 0),
    ]

    def do_dissect(self, data: bytes) -> bytes:
        """Dissect, after the length has been checked."""
        if len(data) < protection.HEADER_BYTES:
            raise MalformedError("4", f"a DATA packet of {len(data)} bytes")
        return super().do_dissect(data)

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        """Return what a payload is that was not opened."""
        return Protected


class Protected(Packet):
    """The protected payload of a DATA packet, tag and all."""

    name = "Strait protected"
    fields_desc = [StrField("load", b"")]


class Parameter(Item):
    """One transport parameter (SPEC 3.2)."""

    name = "Strait parameter"
    fields_desc = [_number("id"), VarIntLenField("length", "value"), CountedField("value", "length")]


#: SPEC 3.2, in the order of their ids.
_NAMES = """connection_id integrity arq initial_max_data initial_max_stream_data
    initial_max_streams_bidi initial_max_streams_uni max_idle_timeout max_ack_delay max_datagram_size"""
PARAMETERS = dict(enumerate(_NAMES.split(), start=0x01))


class Parameters(Packet):
    """The payload of a Noise message: transport parameters."""

    name = "Strait transport parameters"
    fields_desc = [PacketListField("parameters", [], Parameter)]

    def numbers(self) -> dict[str, int]:
        """Return the known parameters by name (MalformedError if one is there twice or cannot be read)."""
        found: dict[str, int] = {}
        for parameter in self.parameters:
            name = PARAMETERS.get(parameter.id)
            if name is None:
                continue
            if name in found:
                raise MalformedError("3.2", f"{name} is there twice")
            if name in ("connection_id", "integrity", "arq"):
                found[name] = int.from_bytes(parameter.value, "big")
                continue
            rest, found[name] = _GAP.getfield(parameter, parameter.value)
            if rest:
                raise MalformedError("3.2", f"{name} has {len(rest)} bytes too many")
        return found


class Strait(Packet):
    """Any Strait packet: becomes SetUp or Data by its first byte."""

    @classmethod
    def dispatch_hook(cls, data: bytes = b"", *_: Any, **__: Any) -> type[Packet]:
        """Return the class for ``data``."""
        if data[:1] == b"\x41":
            return Data
        if data[:1] in (b"\xc1", b"\xc2"):
            return SetUp
        return Raw


bind_bottom_up(UDP, Strait, sport=PORT)
bind_bottom_up(UDP, Strait, dport=PORT)
bind_top_down(UDP, SetUp, sport=PORT, dport=PORT)
bind_top_down(UDP, Data, sport=PORT, dport=PORT)


def protect(packet: Packet, profile: str, key: bytes = b"", *, number: int | None = None) -> bytes:
    """Return the datagram of ``Data / Frames``: header and frames in clear.

    Args:
        profile: ``aead`` (then with a key of 32 bytes), ``crc32c`` or ``xor``.
        number: the full packet number; None: the header's low 32 bits are all of it.
    """
    full = packet.packet_number if number is None else number
    built = bytes(packet)
    header, frames = built[: protection.HEADER_BYTES], built[protection.HEADER_BYTES :]
    return protection.seal(profile, key, header, frames, full)


def unprotect(packet: Packet, profile: str, key: bytes = b"", *, largest: int = -1) -> Packet:
    """Return ``Data / Frames`` of a dissected Data packet.

    Args:
        packet: Data as dissected (also inside a captured frame).
        profile, key: as its connection's line in the key log tells.
        largest: the largest packet number received before in this direction.
    Raises:
        TagError, MalformedError: the tag is wrong; the payload is not a sequence of frames.
    """
    data = packet[Data]
    number = protection.full_packet_number(largest, data.packet_number)
    clear = bytes(protection.opener(profile, key)(bytes(data), number))
    return Data(bytes(data)[: protection.HEADER_BYTES]) / Frames(clear)
