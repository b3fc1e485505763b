"""IP and UDP headers of captured frames, read by hand: the probe shares no code with the nodes."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import NamedTuple, TypeAlias

_ETHERTYPE_IPV4, _ETHERTYPE_IPV6 = 0x0800, 0x86DD
_PROTOCOL_UDP = 17
LAYER2_BYTES = 14
#: Ethernet, IP and UDP headers, by version of IP.
_BYTES_IPV4, _BYTES_IPV6 = 42, 62
# EtherType · version and length, TOS, total length, protocol, source, destination · ports, UDP length.
_IPV4 = struct.Struct(">12xHBBH5xB2x4s4sHHH")
# Version, traffic class and flow label, payload length, next header, source, destination · ports, UDP length.
_IPV6 = struct.Struct(">14xIHBx16s16sHHH")
_PLAIN_HEADER = 0x45


#: What tells datagrams of equal payload apart: addresses and ports.
Key: TypeAlias = tuple[bytes, bytes, int, int]


class Headers(NamedTuple):
    """What a UDP datagram's headers say."""

    #: DSCP and ECN.
    traffic_class: int
    #: Bytes of the IP packet.
    length: int
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    #: Where the UDP payload begins in the frame.
    start: int
    #: Whether version, lengths and checksum fit each other and the frame.
    whole: bool

    @property
    def key(self) -> Key:
        """Return what tells the datagram from others of equal payload."""
        return self.source, self.destination, self.source_port, self.destination_port


def read_headers(data: memoryview, *, suspect: bool = False) -> Headers | None:
    """Return the headers of a UDP datagram in an Ethernet frame; None: there is none.

    Args:
        data: the frame.
        suspect: a link damages frames. IPv6 has no checksum of its own, so UDP's is then looked at.
    """
    if len(data) < _BYTES_IPV4:
        return None
    (
        kind, version, tos, length, protocol, source, destination, source_port, destination_port, udp_length
    ) = _IPV4.unpack_from(data)  # fmt: skip
    if kind == _ETHERTYPE_IPV6:
        return _read_ipv6(data, suspect=suspect)
    if kind != _ETHERTYPE_IPV4 or protocol != _PROTOCOL_UDP:
        return None
    whole = (
        version == _PLAIN_HEADER
        # The Internet checksum over a header with a right checksum is the number modulo 0xFFFF: 0.
        and int.from_bytes(data[14:34], "big") % 0xFFFF == 0
        and length + LAYER2_BYTES <= len(data)
        and udp_length == length - 20
    )
    return Headers(tos, length, source, destination, source_port, destination_port, _BYTES_IPV4, whole)


def has_right_checksum(data: memoryview, headers: Headers) -> bool:
    """Return whether UDP's checksum fits a whole datagram, or was left out: a host takes no other.

    Of IPv6 ``read_headers`` has asked already.
    """
    if headers.start != _BYTES_IPV4 or not any(data[40:42]):
        return True
    return _sum_fits(bytes(data[26 : LAYER2_BYTES + headers.length]), headers.length - 20)


def _read_ipv6(data: memoryview, *, suspect: bool) -> Headers | None:
    if len(data) < _BYTES_IPV6:
        return None
    word, payload, protocol, source, destination, *udp = _IPV6.unpack_from(data)
    if protocol != _PROTOCOL_UDP:
        return None
    source_port, destination_port, udp_length = udp
    length = payload + 40
    whole = word >> 28 == 6 and length + LAYER2_BYTES <= len(data) and udp_length == payload
    if suspect and whole and any(data[60:62]):
        whole = _sum_fits(bytes(data[22 : LAYER2_BYTES + length]), payload)
    ports = (source_port, destination_port)
    return Headers(word >> 20 & 0xFF, length, source, destination, *ports, _BYTES_IPV6, whole)


def _sum_fits(covered: bytes, udp_length: int) -> bool:
    """Return whether UDP's checksum is right over addresses and datagram, which stand one after the other.

    With length and protocol, and the checksum itself included, it is then a multiple of 0xFFFF.
    """
    total = int.from_bytes(covered + b"\0" * (len(covered) % 2), "big") + udp_length + _PROTOCOL_UDP
    return total % 0xFFFF == 0


def address_bytes(text: str) -> bytes:
    """Return the bytes of ``10.0.0.1`` or ``10.0.0.1/30``, or of an IPv6 address so written."""
    return ip_address(text.partition("/")[0]).packed


def address_text(address: bytes) -> str:
    """Return an address as people write it."""
    return str(ip_address(address))
