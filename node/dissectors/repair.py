"""Repair symbols, read from SPEC 12 a second time: made of the packets they are said to protect.

Shares no code with ``node.protocol`` on purpose: what both get wrong in the same way, no test finds.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

XOR, REED_SOLOMON = 1, 2
_POLYNOMIAL = 0x11D


def source_symbol(frames: bytes, number: int, *, checked: bool) -> bytes:
    """Return the source symbol of a packet (SPEC 12.1-4, 12.1-5).

    Args:
        frames: its payload in clear.
        number: its full packet number.
        checked: whether it is of a checksum profile.
    """
    length = len(frames).to_bytes(2, "big")
    if not checked:
        return length + frames
    return length + hashlib.blake2s(number.to_bytes(8, "big") + frames, digest_size=4).digest() + frames


def symbol(scheme: int, sources: list[bytes], *, total: int, index: int) -> bytes | None:
    """Return repair symbol ``index`` of ``total`` (SPEC 12.2); None: there is no such scheme."""
    size = max(map(len, sources))
    rows = np.zeros((len(sources), size), dtype=np.uint8)
    for row, source in zip(rows, sources, strict=True):
        row[: len(source)] = np.frombuffer(source, dtype=np.uint8)
    if scheme == XOR:
        return bytes(np.bitwise_xor.reduce(rows[index % total :: total], axis=0))
    if scheme == REED_SOLOMON:
        table = _products()
        factors = [divide(255 ^ position, (255 - index) ^ position) for position in range(len(sources))]
        made = np.zeros(size, dtype=np.uint8)
        for row, factor in zip(rows, factors, strict=True):
            made ^= table[factor][row]
        return bytes(made)
    return None


def multiply(a: int, b: int) -> int:
    """Return the product in GF(256), by shift and add."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = (a << 1) ^ (_POLYNOMIAL if a & 0x80 else 0)
        b >>= 1
    return product


@lru_cache(maxsize=1 << 16)
def divide(a: int, b: int) -> int:
    """Return the quotient in GF(256); found by trial, once for each pair."""
    return next(quotient for quotient in range(256) if multiply(quotient, b) == a)


@lru_cache(maxsize=1)
def _products() -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    table = np.zeros((256, 256), dtype=np.uint8)
    for a in range(256):
        for bit in range(8):
            table[a][np.arange(256) & (1 << bit) != 0] ^= np.uint8(multiply(a, 1 << bit))
    return table
