"""Source symbols: what a block's rows hold of a packet (SPEC 12.1-4, 12.1-5).

A symbol is the length of the packet's frames, in the checksum profiles a check of them, and the frames.
"""

from __future__ import annotations

from hashlib import blake2s

import numpy as np

from node.protocol.arena import HEADER_BYTES
from node.protocol.fec.base import Rows

LENGTH_BYTES = 2
CHECK_BYTES = 4


class SymbolLayout:
    """Makes symbols of payloads and payloads of symbols.

    Args:
        checked: whether a symbol carries a check. Parity is linear, and so are XOR and CRC: damage that
            slipped through a packet's tag would pass them in the packet rebuilt with it as well.
    """

    def __init__(self, *, checked: bool) -> None:
        self.checked = checked
        #: Bytes in front of the payload.
        self.prefix = LENGTH_BYTES + CHECK_BYTES * checked

    def symbol(self, number: int, payload: bytes) -> Rows:
        """Return the symbol of one packet, a matrix of one row."""
        head = len(payload).to_bytes(LENGTH_BYTES, "big")
        if self.checked:
            head += check_of(number, payload)
        return np.frombuffer(head + payload, dtype=np.uint8)[np.newaxis]

    def write_heads(self, rows: Rows, first: int) -> None:
        """Fill in length and check of whole rows, one of each packet from ``first`` on."""
        size = rows.shape[1] - self.prefix
        rows[:, 0], rows[:, 1] = size >> 8, size & 0xFF
        if self.checked:
            for number, row in enumerate(rows, first):
                check = check_of(number, row[self.prefix :].tobytes())
                row[LENGTH_BYTES : self.prefix] = np.frombuffer(check, dtype=np.uint8)

    def payload(self, number: int, row: Rows) -> bytes | None:
        """Return the payload that a symbol holds; None: it holds none, or it is damaged."""
        length = int(row[0]) << 8 | int(row[1])
        if not 0 < length <= len(row) - self.prefix:
            return None
        found = row[self.prefix : self.prefix + length].tobytes()
        if self.checked and row[LENGTH_BYTES : self.prefix].tobytes() != check_of(number, found):
            return None
        return found


def check_of(number: int, payload: bytes) -> bytes:
    """Return the check of a packet's frames: BLAKE2s (RFC 7693) with four bytes of output, no key."""
    return blake2s(number.to_bytes(8, "big") + payload, digest_size=CHECK_BYTES).digest()


def arena_rows(buffer: Rows, *, position: int, count: int, size: int, tag_size: int, prefix: int) -> Rows:
    """Return a view of equal packets that lie in a buffer one after the other: their payloads, and the
    last ``prefix`` bytes of their headers, in which a symbol's head can be written for a moment."""
    packets = buffer[position : position + count * size].reshape(count, size)
    return packets[:, HEADER_BYTES - prefix : size - tag_size]
