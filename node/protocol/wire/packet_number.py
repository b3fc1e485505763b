"""Packet number truncation (RFC 9000 A.2, A.3). Strait sends the low 32 bits (SPEC 4-1)."""

from __future__ import annotations

#: Bits of a packet number on the wire.
WIRE_BITS = 32
WIRE_MASK = (1 << WIRE_BITS) - 1
#: The last number a connection may use (SPEC 4-3).
MAX_PACKET_NUMBER = (1 << 62) - 2


def needed_bits(full: int, largest_acked: int | None) -> int:
    """Return how many bits of ``full`` the peer needs (RFC 9000 A.2): 8, 16, 24 or 32.

    Args:
        largest_acked: the largest number the peer has acknowledged; None: none yet.
    """
    unacked = full + 1 if largest_acked is None else full - largest_acked
    bits = unacked.bit_length() + 1
    return min(32, -(-bits // 8) * 8)


def decode_packet_number(largest: int, truncated: int, bits: int = WIRE_BITS) -> int:
    """Return the full number closest to the one expected next (RFC 9000 A.3).

    Args:
        largest: the largest number received so far; -1: none yet.
        truncated: the number on the wire.
        bits: how many bits are on the wire.
    """
    expected = largest + 1
    window = 1 << bits
    half = window >> 1
    candidate = (expected & ~(window - 1)) | truncated
    if candidate <= expected - half and candidate < (1 << 62) - window:
        return candidate + window
    if candidate > expected + half and candidate >= window:
        return candidate - window
    return candidate
