"""Variable-length integers (RFC 9000 §16), the dissectors' own reading."""

from __future__ import annotations

MAX_VARINT = (1 << 62) - 1


def encode_varint(value: int) -> bytes:
    """Return the shortest form of ``value`` (ValueError if it is outside 62 bits)."""
    if not 0 <= value <= MAX_VARINT:
        raise ValueError(f"{value} does not fit into 62 bits")
    if value < 0x40:
        return bytes([value])
    if value < 0x4000:
        return (value | 0x4000).to_bytes(2, "big")
    if value < 0x4000_0000:
        return (value | 0x8000_0000).to_bytes(4, "big")
    return (value | 0xC000_0000_0000_0000).to_bytes(8, "big")


def decode_varint(data: bytes) -> tuple[bytes, int]:
    """Return what follows the integer at the start of ``data``, and the integer (ValueError if cut off)."""
    if not data:
        raise ValueError("is missing")
    first = data[0]
    if first < 0x40:
        return data[1:], first
    size = 1 << (first >> 6)
    if len(data) < size:
        raise ValueError("is cut off")
    return data[size:], int.from_bytes(data[:size], "big") & ((1 << (8 * size - 2)) - 1)
