"""One block of a sender: its packets, its repair symbols, and which of both were lost (SPEC 12.3)."""

from __future__ import annotations

from bisect import insort

from node.protocol.fec.base import Encoder, FecScheme, Rows, Shape
from node.protocol.time import Instant
from node.protocol.wire.fec_frames import MAX_BLOCK_RANGES
from node.protocol.wire.varint import encode_varint

#: Bytes that FEC_REPAIR takes before its symbol, at most: every protected packet is that much smaller than a
#: full one (SPEC 12.1-6). Enough for a block in one piece whatever its number, and for four further ones
#: where that takes four bytes: blocks seldom have more, and close early then.
REPAIR_HEAD_BYTES = 19
#: Of these for type, scheme, number of further ranges, length of the first (two), total and index.
_FIXED_BYTES = 7
#: Packet numbers between two ranges of a block, at most: such a gap takes one byte. Lengths of further ranges
#: take one as well, for where one takes two, the first takes one.
MAX_GAP = 64
_RANGE_BYTES = 2


class Block:
    """Packets protected together."""

    def __init__(
        self, first: int, shape: Shape, encoder: Encoder, *, flush_at: Instant, drop_at: Instant
    ) -> None:
        self.first = self.end = first
        spare = REPAIR_HEAD_BYTES - _FIXED_BYTES - len(encode_varint(first))
        self._most_ranges = min(MAX_BLOCK_RANGES, 1 + spare // _RANGE_BYTES)
        self.ranges: list[tuple[int, int]] = []
        self.packets = 0
        #: Bytes of the longest source symbol.
        self.width = 0
        self.shape = shape
        self.encoder = encoder
        #: When its repair is to go even if the block is not full, and when it comes too late.
        self.flush_at, self.drop_at = flush_at, drop_at
        #: Whether there was nothing more to send while it was open: its data waits for nobody.
        self.idle = False
        #: Repair symbols, once the block is closed; how many of them may go, and how many have gone.
        self.symbols: Rows | None = None
        self.released = self.sent = 0
        #: When the last repair symbol went, and how often more of them were released.
        self.sent_at: Instant | None = None
        self.requests = 0
        #: Positions of packets, and indices of repair symbols, that were declared lost; in order.
        self.lost: list[int] = []
        self.lost_repairs: list[int] = []

    def takes(self, number: int) -> bool:
        """Whether a packet may join: the frame that names the block's packets stays short (SPEC 12.1-1)."""
        if number == self.end:
            return True
        return len(self.ranges) < self._most_ranges and number - self.end <= MAX_GAP

    def add(self, first: int, symbols: Rows) -> None:
        """Take the symbols of packets from ``first`` on."""
        count, width = symbols.shape
        if self.ranges and first == self.end:
            self.ranges[-1] = (self.ranges[-1][0], first + count)
        else:
            self.ranges.append((first, first + count))
        self.end = first + count
        self.packets += count
        self.width = max(self.width, width)
        self.encoder.add(symbols)

    def on_packet_lost(self, number: int) -> None:
        """Note that a packet of the block was declared lost."""
        before = 0
        for start, end in self.ranges:
            if start <= number < end and before + number - start not in self.lost:
                insort(self.lost, before + number - start)
            before += end - start

    def on_repair_lost(self, index: int) -> None:
        """Note that a repair symbol was declared lost."""
        if index not in self.lost_repairs:
            insort(self.lost_repairs, index)

    def more_needed(self, scheme: FecScheme) -> int | None:
        """Return how many further repair symbols bring back all that was lost (SPEC 12.5-2).

        Those that may have arrived, or will, count as there. None: not even all of them are enough.
        """
        assert self.symbols is not None
        total = len(self.symbols)
        there = [index for index in range(self.released) if index not in self.lost_repairs]
        for more in range(total - self.released + 1):
            if len(scheme.repairable(self.lost, there, total)) == len(self.lost):
                return more
            there.append(self.released + more)
        return None
