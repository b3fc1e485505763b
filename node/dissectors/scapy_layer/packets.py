# ruff: noqa: RUF012 (scapy reads class attributes called fields_desc, and they are lists)
"""Strait's packets as scapy packets (SPEC 3, 4), and the way into DATA packets and out of them."""

from __future__ import annotations

from typing import Any

from scapy.fields import (
    FieldLenField,
    IntField,
    PacketListField,
    StrField,
    StrFixedLenField,
    StrLenField,
    XByteEnumField,
    XByteField,
    XIntField,
    XLongField,
)
from scapy.layers.inet import UDP
from scapy.packet import Packet, Raw, bind_bottom_up, bind_top_down

from node.dissectors import protection
from node.dissectors.reset import RESET_BYTES, STATELESS_RESET
from node.dissectors.scapy_layer.fields import (
    INTEGER,
    CountedField,
    Item,
    MalformedError,
    VarIntLenField,
    number_field,
)
from node.dissectors.scapy_layer.frames import Frames
from node.dissectors.scapy_layer.sealed import Sealed

PORT = 4433
VERSION = 0x5354_5201
#: SPEC 3-1, 3.3-4: without ML-KEM, and with it.
SETUP_BYTES, HYBRID_SETUP_BYTES = 1200, 1452
#: Without a cookie.
SETUP_HEADER_BYTES = 45
COOKIE_BYTES = 16
#: SPEC 3-1.
RETRY_BYTES = SETUP_HEADER_BYTES + COOKIE_BYTES + 4
_SUITE_AT, _COOKIE_LENGTH_AT = 5, 42
_HYBRID = 0x80
INITIATION, RESPONSE, COMPLETION, RETRY, EARLY, DATA = 0xC1, 0xC2, 0xC3, 0xC4, 0xC8, 0x41
#: SPEC 4.2-1.
DATA_ODD = 0x45
SETUP_KINDS = {INITIATION: "INITIATION", RESPONSE: "RESPONSE", COMPLETION: "COMPLETION", RETRY: "RETRY"}
#: SPEC 3.3: the bytes there are, and the patterns they mean.
SUITES = {
    pattern | cipher | hybrid: name
    for pattern, name in ((0x01, "IK"), (0x02, "XX"), (0x03, "IKpsk2"))
    for cipher in (0x00, 0x10)
    for hybrid in (0x00, _HYBRID)
}


def setup_bytes(kind: int, suite: int) -> int:
    """Return how long a set-up packet must be."""
    if kind == RETRY:
        return RETRY_BYTES
    return HYBRID_SETUP_BYTES if suite & _HYBRID else SETUP_BYTES


def _padding_bytes(packet: Packet) -> int:
    taken = SETUP_HEADER_BYTES + int(packet.cookie_length) + int(packet.noise_length) + 4
    return len(packet.original) - taken


class SetUp(Packet):
    """INITIATION, RESPONSE, COMPLETION, RETRY (SPEC 3): padding and CRC-32C are computed if left open."""

    name = "Strait set-up"
    fields_desc = [
        XByteEnumField("type", INITIATION, SETUP_KINDS),
        XIntField("version", VERSION),
        XByteField("suite", 0x01),
        XLongField("target_address", 0),
        XLongField("source_address", 0),
        XLongField("target_cid", 0),
        XLongField("source_cid", 0),
        IntField("packet_number", 0),
        FieldLenField("cookie_length", None, length_of="cookie", fmt="B"),
        StrLenField("cookie", b"", length_from=lambda packet: packet.cookie_length),
        FieldLenField("noise_length", None, length_of="noise", fmt="!H"),
        StrLenField("noise", b"", length_from=lambda packet: packet.noise_length),
        StrLenField("padding", None, length_from=_padding_bytes),
        XIntField("crc", None),
    ]

    def do_dissect(self, data: bytes) -> bytes:
        """Dissect, after the lengths have been checked."""
        if len(data) < SETUP_HEADER_BYTES + 4:
            raise MalformedError("3-1", f"a set-up packet of {len(data)} bytes")
        cookie = data[_COOKIE_LENGTH_AT]
        if cookie not in (0, COOKIE_BYTES):
            raise MalformedError("3", f"a cookie of {cookie} bytes")
        start = SETUP_HEADER_BYTES + cookie
        size = int.from_bytes(data[start - 2 : start], "big")
        if start + size + 4 > len(data):
            raise MalformedError("3", f"a Noise message of {size} bytes in a packet of {len(data)}")
        return super().do_dissect(data)

    def post_build(self, built: bytes, payload: bytes) -> bytes:
        """Pad to the length of the suite and compute the CRC, where they were left open."""
        crc = built[-4:]
        body = built[:-4]
        if self.padding is None:
            body = body.ljust(setup_bytes(built[0], built[_SUITE_AT]) - 4, b"\0")
        if self.crc is None:
            crc = protection.crc32c(body).to_bytes(4, "big")
        return body + crc + payload


class Data(Packet):
    """A DATA packet (SPEC 4): the header; the payload is Protected, or Frames after :func:`unprotect`."""

    name = "Strait data"
    fields_desc = [
        XByteEnumField("type", DATA, {DATA: "DATA", DATA_ODD: "DATA, odd key phase"}),
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


class StatelessReset(Packet):
    """A STATELESS_RESET packet (SPEC 4.3)."""

    name = "Strait stateless reset"
    fields_desc = [
        XByteField("type", STATELESS_RESET),
        XLongField("target_cid", 0),
        StrFixedLenField("token", bytes(16), length=16),
    ]

    def do_dissect(self, data: bytes) -> bytes:
        """Dissect, after the length has been checked."""
        if len(data) != RESET_BYTES:
            raise MalformedError("4.3-5", f"a STATELESS_RESET of {len(data)} bytes")
        return super().do_dissect(data)


class Early(Data):
    """An EARLY packet (SPEC 15-3): as DATA, but with its sender's connection ID."""

    name = "Strait early data"
    fields_desc = [
        XByteEnumField("type", EARLY, {EARLY: "EARLY"}),
        XLongField("source_cid", 0),
        IntField("packet_number", 0),
    ]


class Protected(Packet):
    """The protected payload of a DATA packet, tag and all."""

    name = "Strait protected"
    fields_desc = [StrField("load", b"")]


class Parameter(Item):
    """One transport parameter (SPEC 3.2)."""

    name = "Strait parameter"
    fields_desc = [number_field("id"), VarIntLenField("length", "value"), CountedField("value", "length")]


#: SPEC 3.2, in the order of their ids.
_NAMES = """connection_id integrity arq initial_max_data initial_max_stream_data
    initial_max_streams_bidi initial_max_streams_uni max_idle_timeout max_ack_delay max_datagram_size
    stateless_reset_token fec fec_arq active_connection_id_limit"""
PARAMETERS = dict(enumerate(_NAMES.split(), start=0x01)) | {0x0F: "ticket", 0x10: "early_accepted"}
#: Parameters that are bytes, or one byte: everything else is a varint.
_BYTES = (
    *("connection_id", "integrity", "arq", "stateless_reset_token", "fec", "fec_arq"),
    *("ticket", "early_accepted"),
)


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
            if name in _BYTES:
                found[name] = int.from_bytes(parameter.value, "big")
                continue
            rest, found[name] = INTEGER.getfield(parameter, parameter.value)
            if rest:
                raise MalformedError("3.2", f"{name} has {len(rest)} bytes too many")
        return found


class Strait(Packet):
    """Any Strait packet: becomes SetUp or Data by its first byte."""

    @classmethod
    def dispatch_hook(cls, data: bytes = b"", *_: Any, **__: Any) -> type[Packet]:
        """Return the class for ``data``."""
        if data[:1] in (b"\x41", b"\x45"):
            return Data
        if data[:1] == b"\x42":
            return StatelessReset
        if data[:1] == b"\x51":
            return Sealed
        if data[:1] == b"\xc8":
            return Early
        if data and data[0] in SETUP_KINDS:
            return SetUp
        return Raw


bind_bottom_up(UDP, Strait, sport=PORT)
bind_bottom_up(UDP, Strait, dport=PORT)
bind_top_down(UDP, SetUp, sport=PORT, dport=PORT)
bind_top_down(UDP, Data, sport=PORT, dport=PORT)
bind_top_down(UDP, Early, sport=PORT, dport=PORT)
bind_top_down(UDP, Sealed, sport=PORT, dport=PORT)
bind_top_down(UDP, StatelessReset, sport=PORT, dport=PORT)


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
    """Return ``Data / Frames`` of a dissected Data packet, ``Early / Frames`` of an Early one.

    Args:
        packet: Data or Early as dissected (also inside a captured frame).
        profile, key: as its connection's line in the key log tells.
        largest: the largest packet number received before in this direction.
    Raises:
        TagError, MalformedError: the tag is wrong; the payload is not a sequence of frames.
    """
    data = packet[Early if Early in packet else Data]
    number = protection.full_packet_number(largest, data.packet_number)
    clear = bytes(protection.opener(profile, key)(bytes(data), number))
    return type(data)(bytes(data)[: protection.HEADER_BYTES]) / Frames(clear)
