"""Integrity of Strait packets, read from SPEC 4.1 a second time: tags, AEAD, packet numbers.

Shares no code with ``node.protocol`` on purpose: what both get wrong in the same way, no test finds.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

Bytes: TypeAlias = bytes | bytearray | memoryview

HEADER_BYTES = 13
#: SPEC 4: bytes of the tag of each profile.
TAG_BYTES = {"aead": 16, "aead-chacha20-poly1305": 16, "crc32c": 4, "xor": 1}
#: SPEC 3.3-5, 11-1: the ciphers of ``aead``, as the key log calls them.
_CIPHERS: dict[str, type[AESGCM | ChaCha20Poly1305]] = {
    "aead": AESGCM,
    "aead-chacha20-poly1305": ChaCha20Poly1305,
}

# RFC 3720 B.4, the polynomial bit-reversed.
_CASTAGNOLI = 0x82F6_3B78
#: Table rows are made this many at a time; no datagram of ours is longer than a few of these.
_ROWS = 2048


class TagError(Exception):
    """A packet's tag is wrong (SPEC 4.1-4)."""


def crc32c(data: Bytes) -> int:
    """Return the CRC-32C of ``data``.

    The CRC is linear over XOR, so each byte contributes a term that depends on its value and its distance
    from the end only. Looking all terms up at once takes 10 µs a packet; byte by byte it is 100.
    """
    size = len(data)
    table = _contributions(_ROWS * (1 + size // _ROWS))
    values = np.frombuffer(data, dtype=np.uint8)
    terms = table[np.arange(size - 1, -1, -1), values]
    return int(np.bitwise_xor.reduce(terms)) ^ _empty_crc(size)


def xor8(data: Bytes) -> int:
    """Return the XOR of all bytes of ``data``."""
    return int(np.bitwise_xor.reduce(np.frombuffer(data, dtype=np.uint8)))


def full_packet_number(largest: int, low: int) -> int:
    """Restore a packet number from its low 32 bits (RFC 9000 A.3).

    Args:
        largest: the largest number received so far, or -1.
        low: the 32 bits of the header.
    """
    expected = largest + 1
    candidate = (expected & ~0xFFFF_FFFF) | low
    if candidate <= expected - (1 << 31) and candidate < (1 << 62) - (1 << 32):
        return candidate + (1 << 32)
    if candidate > expected + (1 << 31) and candidate >= 1 << 32:
        return candidate - (1 << 32)
    return candidate


def opener(profile: str, key: bytes) -> Callable[[Bytes, int], Bytes]:
    """Return the function that checks a DATA packet's tag and gives its payload in clear.

    Its arguments are the whole packet and the full packet number; it raises :class:`TagError`. A packet
    must be at least :data:`HEADER_BYTES` and a tag long.

    Raises:
        ValueError: there is no such profile, or the key does not fit.
    """
    cipher = _CIPHERS.get(profile)
    if cipher is not None:
        decrypt = cipher(key).decrypt

        def open_aead(packet: Bytes, number: int) -> Bytes:
            view = memoryview(packet)
            try:
                return decrypt(number.to_bytes(12, "big"), view[HEADER_BYTES:], view[:HEADER_BYTES])
            except InvalidTag:
                raise TagError("the tag does not fit header, number and key") from None

        return open_aead
    if profile == "crc32c":
        return _open_crc32c
    if profile == "xor":
        return _open_xor
    raise ValueError(f"unknown integrity profile {profile!r}: use one of {', '.join(TAG_BYTES)}")


def next_key(key: bytes) -> bytes:
    """Return the key of the phase after ``key``'s (SPEC 4.2-2): HKDF-Expand, one block of it."""
    return hmac.digest(key, b"strait key update" + b"\x01", hashlib.sha256)


def seal(profile: str, key: bytes, header: bytes, payload: bytes, number: int) -> bytes:
    """Return the DATA packet of ``header`` (13 bytes) and ``payload``, protected under ``number``."""
    cipher = _CIPHERS.get(profile)
    if cipher is not None:
        return header + cipher(key).encrypt(number.to_bytes(12, "big"), payload, header)
    if profile == "crc32c":
        return (
            header + payload + crc32c((number >> 32).to_bytes(4, "big") + header + payload).to_bytes(4, "big")
        )
    if profile == "xor":
        return header + payload + bytes([xor8(header + payload)])
    raise ValueError(f"unknown integrity profile {profile!r}: use one of {', '.join(TAG_BYTES)}")


def _open_crc32c(packet: Bytes, number: int) -> Bytes:
    view = memoryview(packet)
    # SPEC 4.1-2: the four high-order bytes of the full packet number in front.
    computed = crc32c((number >> 32).to_bytes(4, "big") + bytes(view[:-4]))
    if computed != int.from_bytes(view[-4:], "big"):
        raise TagError(f"CRC-32C is 0x{view[-4:].hex()}, computed 0x{computed:08x}")
    return view[HEADER_BYTES:-4]


def _open_xor(packet: Bytes, _number: int) -> Bytes:
    view = memoryview(packet)
    computed = xor8(view[:-1])
    if computed != view[-1]:
        raise TagError(f"XOR is 0x{view[-1]:02x}, computed 0x{computed:02x}")
    return view[HEADER_BYTES:-1]


@lru_cache(maxsize=8)
def _contributions(rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint32]]:
    """Return what a byte of each value adds at each distance from the end."""
    first = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        first = np.where(first & 1, (first >> 1) ^ np.uint32(_CASTAGNOLI), first >> 1).astype(np.uint32)
    table = np.empty((rows, 256), dtype=np.uint32)
    table[0] = first
    for row in range(1, rows):
        # One more zero byte behind it.
        table[row] = (table[row - 1] >> 8) ^ first[table[row - 1] & 0xFF]
    return table


@lru_cache(maxsize=4096)
def _empty_crc(size: int) -> int:
    """Return the CRC of ``size`` zero bytes: what initial value and final XOR alone make."""
    register = 0xFFFF_FFFF
    step = _contributions(_ROWS)[0]
    for _ in range(size):
        register = (register >> 8) ^ int(step[register & 0xFF])
    return register ^ 0xFFFF_FFFF
