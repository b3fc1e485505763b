"""Damage done to real packets, as a link does it."""

from __future__ import annotations

ETHERNET_BYTES = 14
_ETHERTYPE_IPV4 = b"\x08\x00"
_UDP = 17
_UDP_BYTES = 8


def flip_bit(frame: bytes, bit: int) -> bytes:
    """Return ``frame`` with one bit flipped, counted from the first bit of the Ethernet header.

    When the bit lies in an IPv4 UDP payload, the UDP checksum is made to fit the damaged payload (unless
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


def _udp_payload(frame: bytes) -> int | None:
    """Return where the payload of an unfragmented IPv4 UDP datagram begins; None: it is none."""
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
