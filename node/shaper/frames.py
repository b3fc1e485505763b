"""Damage done to real packets, as a link does it."""

from __future__ import annotations

ETHERNET_BYTES = 14
_ETHERTYPE_IPV4 = b"\x08\x00"
_ETHERTYPE_IPV6 = b"\x86\xdd"
_IPV6_BYTES = 40
_UDP = 17
_UDP_BYTES = 8
#: Where the checksum stands in the headers of UDP and TCP.
_CHECKSUM_OFFSETS = {17: 6, 6: 16}


def flip_bit(frame: bytes, bit: int) -> bytes:
    """Return ``frame`` with one bit flipped, counted from the first bit of the Ethernet header.

    When the bit lies in a UDP payload, the UDP checksum is made to fit the damaged payload (unless
    it is zero, which means "none"). Else every damaged datagram would die in the receiver's kernel, and
    corruption would be nothing but loss: the transport's own integrity check would never see any. Kernel
    netem leaves the checksum as it was; runs over it get the same effect by sending without UDP checksum
    (SO_NO_CHECK at the sender). Damage anywhere else is left to the receiver's kernel to find, as on netem.
    """
    position = bit // 8
    if position >= len(frame):
        return frame
    damaged = bytearray(frame)
    damaged[position] ^= 0x80 >> bit % 8
    payload = _udp_payload(frame)
    if payload is not None and position >= payload:
        _repair_checksum(damaged, frame, position, payload)
    return bytes(damaged)


def has_unfinished_checksum(frame: bytes | bytearray) -> bool:
    """Return whether a UDP or TCP checksum was left for a network card to finish.

    The field then holds the sum of the pseudo-header alone. No card will finish it behind AF_PACKET, and
    the receiver drops the packet.
    """
    if frame[12:14] == _ETHERTYPE_IPV6:
        return _has_unfinished_ipv6(frame)
    protocol = frame[ETHERNET_BYTES + 9] if len(frame) >= ETHERNET_BYTES + 28 else 0
    if frame[12:14] != _ETHERTYPE_IPV4 or protocol not in _CHECKSUM_OFFSETS:
        return False
    header = 4 * (frame[ETHERNET_BYTES] & 0x0F)
    field = ETHERNET_BYTES + header + _CHECKSUM_OFFSETS[protocol]
    length = int.from_bytes(frame[ETHERNET_BYTES + 2 : ETHERNET_BYTES + 4], "big") - header
    addresses = int.from_bytes(frame[ETHERNET_BYTES + 12 : ETHERNET_BYTES + 20], "big")
    pseudo_header = (addresses + protocol + length) % 0xFFFF
    return int.from_bytes(frame[field : field + 2], "big") % 0xFFFF == pseudo_header


def _has_unfinished_ipv6(frame: bytes | bytearray) -> bool:
    start = ETHERNET_BYTES + _IPV6_BYTES
    protocol = frame[ETHERNET_BYTES + 6] if len(frame) >= start + _UDP_BYTES else 0
    if protocol not in _CHECKSUM_OFFSETS:
        return False
    field = start + _CHECKSUM_OFFSETS[protocol]
    length = int.from_bytes(frame[ETHERNET_BYTES + 4 : ETHERNET_BYTES + 6], "big")
    addresses = int.from_bytes(frame[ETHERNET_BYTES + 8 : start], "big")
    pseudo_header = (addresses + protocol + length) % 0xFFFF
    return int.from_bytes(frame[field : field + 2], "big") % 0xFFFF == pseudo_header


def _udp_payload(frame: bytes) -> int | None:
    """Return where the payload of an unfragmented UDP datagram begins; None: it is none."""
    if frame[12:14] == _ETHERTYPE_IPV6:
        start = ETHERNET_BYTES + _IPV6_BYTES + _UDP_BYTES
        return start if len(frame) >= start and frame[ETHERNET_BYTES + 6] == _UDP else None
    if frame[12:14] != _ETHERTYPE_IPV4 or len(frame) < ETHERNET_BYTES + 28:
        return None
    header = 4 * (frame[ETHERNET_BYTES] & 0x0F)
    fragment = int.from_bytes(frame[ETHERNET_BYTES + 6 : ETHERNET_BYTES + 8], "big") & 0x3FFF
    if frame[ETHERNET_BYTES + 9] != _UDP or fragment:
        return None
    return ETHERNET_BYTES + header + _UDP_BYTES


def _repair_checksum(damaged: bytearray, frame: bytes, position: int, payload: int) -> None:
    # RFC 1624: HC' = ~(~HC + ~m + m'), m the 16-bit word that changed. Words count from the UDP header,
    # which begins at an even distance from the payload. A checksum that was wrong stays wrong.
    field = slice(payload - 2, payload)
    checksum = int.from_bytes(frame[field], "big")
    if checksum == 0:
        return
    word = position - (position - payload) % 2
    before = int.from_bytes(frame[word : word + 2].ljust(2, b"\0"), "big")
    after = int.from_bytes(bytes(damaged[word : word + 2]).ljust(2, b"\0"), "big")
    total = (checksum ^ 0xFFFF) + (before ^ 0xFFFF) + after
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    damaged[field] = ((total ^ 0xFFFF) or 0xFFFF).to_bytes(2, "big")
