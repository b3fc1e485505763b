"""What was sent and not yet acknowledged: one record a burst, not one a packet.

Which packets of a burst are acknowledged or lost is a bitmap in an ``int``; acknowledging is a
mask and a ``bit_count``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

from node.protocol.streams.send import SendStream
from node.protocol.time import Instant
from node.protocol.wire.frames import Frame

#: Acknowledged records at the front are removed in blocks of this many.
TRIM = 64


class SentBurst:
    """Packets with consecutive numbers, sent at one time.

    A bulk burst carries data of one stream, ``data_size`` bytes in each packet but the last: consecutive
    data, or several ranges that were lost and maybe new data behind them. A single packet carries control
    frames and pieces of streams.
    """

    __slots__ = (
        "acked", "count", "data_end", "data_size", "delivered", "delivered_time", "ecn", "eliciting",
        "epoch", "fin", "first", "first_send_time", "frames", "full", "is_app_limited", "last_size", "lost",
        "lost_before", "parts", "path", "pieces", "recovered", "size", "stream", "time_sent", "total",
        "tx_in_flight",
    )  # fmt: skip

    def __init__(
        self, first: int, count: int, time_sent: Instant, *, size: int, last_size: int,
        eliciting: bool = True,
    ) -> None:  # fmt: skip
        self.first = first
        self.count = count
        self.time_sent = time_sent
        #: UDP payload bytes of each packet, and of the last.
        self.size = size
        self.last_size = last_size
        self.eliciting = eliciting
        #: ECN codepoint that all of them carry, and the path they take (``Recovery.path``).
        self.ecn = self.path = 0
        self.acked = 0
        self.lost = 0
        #: Packets whose payload the peer rebuilt; they may be lost all the same (SPEC 12.4-5).
        self.recovered = 0
        #: All packets' bits, and bytes.
        self.full = (1 << count) - 1
        self.total = (count - 1) * size + last_size
        # What was known when it went out, for rate samples; recovery.delivery_rate sets and reads it.
        self.delivered = self.delivered_time = self.first_send_time = 0
        self.lost_before = self.tx_in_flight = 0
        self.is_app_limited = False
        # a bulk burst
        self.stream: SendStream | None = None
        #: Where consecutive data begins: index of the packet, and stream offset of its first byte.
        self.parts: tuple[tuple[int, int], ...] = ()
        self.data_size = self.data_end = 0
        self.fin = False
        self.epoch = 0
        # a single packet
        self.frames: tuple[Frame, ...] = ()
        self.pieces: tuple[tuple[SendStream, int, int, bool, int], ...] = ()

    def bytes_of(self, mask: int) -> int:
        """Return the UDP payload bytes of the packets in ``mask``."""
        if mask == self.full:
            return self.total
        total = mask.bit_count() * self.size
        if mask >> (self.count - 1) & 1:
            total += self.last_size - self.size
        return total

    def mask_of(self, start: int, end: int) -> int:
        """Return the mask of the packets with numbers in ``[start, end)``, a range that overlaps."""
        low, high = max(0, start - self.first), min(self.count, end - self.first)
        return ((1 << (high - low)) - 1) << low if high > low else 0

    @property
    def outstanding(self) -> int:
        """Mask of the packets that are neither acknowledged nor lost."""
        return self.full & ~(self.acked | self.lost)

    def data_of(self, mask: int) -> list[tuple[int, int, bool]]:
        """Return the ranges of the stream, with FIN, that the packets in ``mask`` of a bulk burst carry."""
        parts, size, count = self.parts, self.data_size, self.count
        if mask == self.full and len(parts) == 1:
            return [(parts[0][1], self.data_end, self.fin)]
        found = []
        for position, (begin, offset) in enumerate(parts):
            beyond = parts[position + 1][0] if position + 1 < len(parts) else count
            left, high = mask >> begin & ((1 << (beyond - begin)) - 1), 0
            while left:  # the runs of set bits, as ``runs`` has them: asked for at each acknowledgement
                zeros = (left & -left).bit_length() - 1
                left >>= zeros
                low = high + zeros
                ones = (~left & (left + 1)).bit_length() - 1
                left >>= ones
                high = low + ones
                if begin + high == count:
                    found.append((offset + low * size, self.data_end, self.fin))
                else:
                    found.append((offset + low * size, offset + high * size, False))
        return found


def runs(mask: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of set bits in ``mask`` as ``[low, high)``, lowest first."""
    position = 0
    while mask:
        zeros = (mask & -mask).bit_length() - 1
        mask >>= zeros
        position += zeros
        ones = (~mask & (mask + 1)).bit_length() - 1
        yield position, position + ones
        mask >>= ones
        position += ones


class SentPackets:
    """All records of one packet number space, by packet number."""

    def __init__(self) -> None:
        self._records: list[SentBurst] = []
        self._firsts: list[int] = []
        self._begin = 0

    def append(self, record: SentBurst) -> None:
        """Add the newest record."""
        self._records.append(record)
        self._firsts.append(record.first)

    def take_outstanding(self, start: int, end: int, found: list[tuple[SentBurst, int]]) -> None:
        """Append the records with outstanding packets in ``[start, end)``, and masks of these, oldest first.

        The last record found may be the first one here: a lost packet lies between two ranges.
        """
        records, begin = self._records, max(bisect_right(self._firsts, start) - 1, self._begin)
        for index in range(begin, len(records)):
            record = records[index]
            first = record.first
            if first >= end:
                return
            beyond = first + record.count
            mask = record.full & ~(record.acked | record.lost)  # outstanding, without a call
            if beyond > end:
                mask &= (1 << (end - first)) - 1
            if start > first:
                if beyond <= start:
                    continue
                mask &= -1 << (start - first)
            if not mask:
                continue
            if found and found[-1][0] is record:
                mask |= found.pop()[1]
            found.append((record, mask))

    def overlapping(self, start: int, end: int) -> Iterator[SentBurst]:
        """Yield the kept records with packets in ``[start, end)``, oldest first."""
        index = max(bisect_right(self._firsts, start) - 1, self._begin)
        records = self._records
        while index < len(records) and records[index].first < end:
            if records[index].first + records[index].count > start:
                yield records[index]
            index += 1

    def trim(self) -> None:
        """Forget records at the front of which nothing is outstanding."""
        records, begin = self._records, self._begin
        end = len(records)
        while begin < end and not (record := records[begin]).full & ~(record.acked | record.lost):
            begin += 1
        self._begin = begin
        if begin >= TRIM:
            del records[:begin], self._firsts[:begin]
            self._begin = 0

    def __iter__(self) -> Iterator[SentBurst]:
        """Yield the kept records, oldest first."""
        return islice(self._records, self._begin, None)

    def __reversed__(self) -> Iterator[SentBurst]:
        """Yield the kept records, newest first."""
        for index in range(len(self._records) - 1, self._begin - 1, -1):
            yield self._records[index]

    def __len__(self) -> int:
        return len(self._records) - self._begin
