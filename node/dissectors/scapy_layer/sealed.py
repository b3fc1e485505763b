# ruff: noqa: RUF012 (scapy reads class attributes called fields_desc, and they are lists)
"""SEALED packets as scapy packets (SPEC 14): connectionless datagrams and their fragments."""

from __future__ import annotations

from scapy.fields import LongField, ShortField, StrField, StrFixedLenField, XByteField, XIntField, XLongField
from scapy.packet import Packet

from node.dissectors import sealed
from node.dissectors.scapy_layer.fields import MalformedError


class SealedFragment(Packet):
    """What is in a SEALED packet, in clear."""

    name = "Strait fragment"
    fields_desc = [ShortField("index", 0), ShortField("count", 1), StrField("data", b"")]


class Sealed(Packet):
    """A SEALED packet: the header; the payload is protected, or a SealedFragment after :func:`unseal`."""

    name = "Strait sealed"
    fields_desc = [
        XByteField("type", sealed.SEALED),
        XIntField("version", 0x5354_5201),
        XLongField("target_address", 0),
        XLongField("source_address", 0),
        StrFixedLenField("epoch", bytes(16), length=16),
        LongField("packet_number", 0),
    ]

    def do_dissect(self, data: bytes) -> bytes:
        """Dissect, after the length has been checked."""
        if not sealed.SMALLEST_BYTES <= len(data) <= sealed.LARGEST_BYTES:
            raise MalformedError("14-2", f"a SEALED packet of {len(data)} bytes")
        return super().do_dissect(data)


def unseal(packet: Packet, key: bytes) -> Packet:
    """Return ``Sealed / SealedFragment`` of a dissected packet (TagError: the tag is wrong).

    Args:
        key: as the key log tells, or :func:`node.dissectors.sealed.derive_key`.
    """
    built = bytes(packet[Sealed])
    index, count, data = sealed.unseal(built, key)
    head = Sealed(**packet[Sealed].fields)
    return head / SealedFragment(index=index, count=count, data=data)
