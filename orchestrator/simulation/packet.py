"""UDP packets of the simulated network over IPv4 or IPv6, and the Ethernet frames they are in captures."""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import IPv6Address

from node.links.frames import mark_frame
from node.protocol.datagrams import SocketAddress

ETHERNET_BYTES = 14
IPV4_BYTES = 20
IPV6_BYTES = 40
UDP_BYTES = 8
#: Bytes of a frame around the UDP payload: what the links count, as netem counts skb->len.
OVERHEAD = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES
OVERHEAD_IPV6 = ETHERNET_BYTES + IPV6_BYTES + UDP_BYTES
#: Linux' default time to live.
DEFAULT_TTL = 64
#: Congestion Experienced (RFC 3168 §5).
ECN_CE = 3

_SOURCE_MAC = range(6, 12)
_ETHERTYPE_IPV4 = b"\x08\x00"
_ETHERTYPE_IPV6 = b"\x86\xdd"
_PROTOCOL_UDP = 17
_DONT_FRAGMENT = 0x4000
_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_IPV6 = struct.Struct(">IHBB16s16s")
_UDP = struct.Struct(">HHHH")


class Packet:
    """One packet on its way. Its payload is never changed in place: copies of it may be elsewhere."""

    __slots__ = (
        *("damaged_bit", "destination", "dscp", "ecn", "frame", "overhead", "payload"),
        *("size", "source", "ttl", "udp_checksum"),
    )

    def __init__(
        self,
        source: SocketAddress,
        destination: SocketAddress,
        payload: bytes,
        *,
        ecn: int = 0,
        ttl: int = DEFAULT_TTL,
        dscp: int = 0,
    ) -> None:
        self.source = source
        self.destination = destination
        self.payload = payload
        self.ecn = ecn
        self.ttl = ttl
        #: RFC 2474: routers leave it as it is.
        self.dscp = dscp
        #: Bytes of the frame around the payload.
        self.overhead = OVERHEAD_IPV6 if ":" in destination[0] else OVERHEAD
        #: Bytes of the frame on a link.
        self.size = len(payload) + self.overhead
        #: Computed once, at the first capture: it is the same on every link.
        self.udp_checksum: int | None = None
        #: An injected frame as it was given; a receiver then looks at it before anything else.
        self.frame: bytes | None = None
        #: Bit of the frame that is damaged in a header: the next receiver drops the packet; None: none is.
        self.damaged_bit: int | None = None

    def copy(self) -> Packet:
        """Return a packet equal to this one."""
        other = Packet(self.source, self.destination, self.payload, ecn=self.ecn, ttl=self.ttl)
        other.dscp = self.dscp
        other.size, other.udp_checksum, other.frame = self.size, self.udp_checksum, self.frame
        other.damaged_bit = self.damaged_bit
        return other

    def with_ecn(self, ecn: int) -> Packet:
        """Return a copy with another ECN field: what marks it."""
        other = self.copy()
        other.ecn = ecn
        if other.frame is not None:
            other.frame = mark_frame(other.frame)
        return other

    def corrupted(self, bit: int) -> Packet:
        """Return a copy with one bit of its frame flipped, counted from the frame's first bit.

        In the UDP payload, the UDP checksum is right again for the damaged bytes: as on the real links of
        corruption runs, UDP must not hide damage from the transport's own integrity check. Anywhere else
        the receiver's kernel finds it, and drops the packet.
        """
        other = self.copy()
        position = bit // 8
        if self.frame is not None:
            other.frame = _flip(self.frame, bit)
        elif position >= self.overhead:
            other.payload = _flip(self.payload, bit - 8 * self.overhead)
            other.udp_checksum = None
        elif not _SOURCE_MAC.start <= position < _SOURCE_MAC.stop:
            # Nobody looks at the source's MAC; every other bit of the headers is fatal.
            other.damaged_bit = bit
        return other

    def forwarded(self) -> Packet:
        """Return a copy that a router sends on."""
        other = self.copy()
        other.ttl -= 1
        return other

    def translated(
        self, *, source: SocketAddress | None = None, destination: SocketAddress | None = None
    ) -> Packet:
        """Return a copy that a NAT router sends on, from or to another address."""
        other = self.copy()
        other.source, other.destination = source or self.source, destination or self.destination
        other.udp_checksum = None
        return other


def _flip(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    if bit // 8 < len(damaged):
        damaged[bit // 8] ^= 0x80 >> bit % 8
    return bytes(damaged)


def injected(frame: bytes) -> Packet:
    """Return a packet that carries ``frame`` as it is over one link."""
    packet = Packet(("", 0), ("", 0), b"")
    packet.frame = frame
    packet.size = max(len(frame), ETHERNET_BYTES)
    return packet


def to_frame(packet: Packet, source_mac: bytes, destination_mac: bytes) -> bytes:
    """Return the Ethernet frame of a packet, all checksums right but for what a link has damaged."""
    if packet.frame is not None:
        return packet.frame
    frame = _whole_frame(packet, source_mac, destination_mac)
    return frame if packet.damaged_bit is None else _flip(frame, packet.damaged_bit)


def _whole_frame(packet: Packet, source_mac: bytes, destination_mac: bytes) -> bytes:
    if packet.overhead == OVERHEAD_IPV6:
        return _to_frame_ipv6(packet, source_mac, destination_mac)
    source, destination = _address_bytes(packet.source[0]), _address_bytes(packet.destination[0])
    udp_length = UDP_BYTES + len(packet.payload)
    if packet.udp_checksum is None:
        packet.udp_checksum = _udp_checksum(packet, source, destination, udp_length)
    tos = packet.dscp << 2 | packet.ecn
    fields = (0x45, tos, IPV4_BYTES + udp_length, 0, _DONT_FRAGMENT, packet.ttl, _PROTOCOL_UDP)
    checksum = internet_checksum(_IPV4.pack(*fields, 0, source, destination))
    return b"".join(
        (
            destination_mac,
            source_mac,
            _ETHERTYPE_IPV4,
            _IPV4.pack(*fields, checksum, source, destination),
            _UDP.pack(packet.source[1], packet.destination[1], udp_length, packet.udp_checksum),
            packet.payload,
        )
    )


def from_frame(frame: bytes) -> Packet | None:
    """Return the UDP packet in an Ethernet frame as a kernel would see it; None: it drops the frame."""
    ip = frame[ETHERNET_BYTES:]
    if frame[12:14] == _ETHERTYPE_IPV6:
        return _from_ipv6(ip)
    if len(ip) < IPV4_BYTES or frame[12:14] != _ETHERTYPE_IPV4 or ip[0] >> 4 != 4:
        return None
    _, tos, length, _, fragment, ttl, protocol, _, source, destination = _IPV4.unpack_from(ip)
    header = 4 * (ip[0] & 0x0F)
    if header < IPV4_BYTES or not header + UDP_BYTES <= length <= len(ip):
        return None
    if internet_checksum(ip[:header]) != 0 or protocol != _PROTOCOL_UDP or fragment & 0x3FFF:
        return None
    source_port, destination_port, udp_length, checksum = _UDP.unpack_from(ip, header)
    if not UDP_BYTES <= udp_length <= length - header:
        return None
    packet = Packet(
        (_address_text(source), source_port),
        (_address_text(destination), destination_port),
        bytes(ip[header + UDP_BYTES : header + udp_length]),
        ecn=tos & 3,
        ttl=ttl,
        dscp=tos >> 2,
    )
    if checksum and checksum != _udp_checksum(packet, source, destination, udp_length):
        return None
    return packet


def _to_frame_ipv6(packet: Packet, source_mac: bytes, destination_mac: bytes) -> bytes:
    source, destination = _ipv6_bytes(packet.source[0]), _ipv6_bytes(packet.destination[0])
    udp_length = UDP_BYTES + len(packet.payload)
    if packet.udp_checksum is None:
        packet.udp_checksum = _udp_checksum(packet, source, destination, udp_length)
    first_word = 6 << 28 | packet.dscp << 22 | packet.ecn << 20
    return b"".join(
        (
            destination_mac,
            source_mac,
            _ETHERTYPE_IPV6,
            _IPV6.pack(first_word, udp_length, _PROTOCOL_UDP, packet.ttl, source, destination),
            _UDP.pack(packet.source[1], packet.destination[1], udp_length, packet.udp_checksum),
            packet.payload,
        )
    )


def _from_ipv6(ip: bytes) -> Packet | None:
    if len(ip) < IPV6_BYTES + UDP_BYTES or ip[0] >> 4 != 6:
        return None
    first_word, length, next_header, hop_limit, source, destination = _IPV6.unpack_from(ip)
    if next_header != _PROTOCOL_UDP or not UDP_BYTES <= length <= len(ip) - IPV6_BYTES:
        return None
    source_port, destination_port, udp_length, checksum = _UDP.unpack_from(ip, IPV6_BYTES)
    if not UDP_BYTES <= udp_length <= length:
        return None
    packet = Packet(
        (str(IPv6Address(source)), source_port),
        (str(IPv6Address(destination)), destination_port),
        bytes(ip[IPV6_BYTES + UDP_BYTES : IPV6_BYTES + udp_length]),
        ecn=first_word >> 20 & 3,
        ttl=hop_limit,
        dscp=first_word >> 22 & 0x3F,
    )
    # Zero means "none" over IPv4 only (RFC 8200, section 8.1).
    return packet if checksum and checksum == _udp_checksum(packet, source, destination, udp_length) else None


def internet_checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of ``data``; 0 if it covers a right checksum."""
    # The sum in one's complement is the number modulo 0xFFFF: one big-integer division is thirty times
    # as fast as a loop over the words.
    if len(data) % 2:
        data += b"\0"
    total = int.from_bytes(data, "big")
    remainder = total % 0xFFFF
    if remainder == 0 and total:
        remainder = 0xFFFF
    return 0xFFFF - remainder


def _udp_checksum(packet: Packet, source: bytes, destination: bytes, udp_length: int) -> int:
    # Over IPv6 the length has 32 bits and stands before the protocol; the sum is the same.
    pseudo_header = source + destination + struct.pack(">BBH", 0, _PROTOCOL_UDP, udp_length)
    header = _UDP.pack(packet.source[1], packet.destination[1], udp_length, 0)
    # Zero means "no checksum", so a computed zero is sent as its other form (RFC 768).
    return internet_checksum(pseudo_header + header + packet.payload) or 0xFFFF


def _address_bytes(text: str) -> bytes:
    return bytes(map(int, text.split(".")))


def _address_text(address: bytes) -> str:
    return ".".join(map(str, address))


@lru_cache(maxsize=4096)
def _ipv6_bytes(text: str) -> bytes:
    return IPv6Address(text).packed
