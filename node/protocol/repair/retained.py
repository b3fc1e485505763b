"""Payloads of packets that came lately: the known part of blocks, should repair be needed (SPEC 12.4-1).

One copy of each received burst, bounded in bytes; nothing is done packet by packet.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from node.protocol.arena import HEADER_BYTES
from node.protocol.fec.base import Rows
from node.protocol.ranges import RangeSet
from node.protocol.repair.symbols import SymbolLayout, arena_rows

#: Bytes of received packets kept for one connection: four blocks of the largest size.
MAX_RETAINED_BYTES = 2 * 1024 * 1024
#: Bursts kept: against a peer that sends the smallest packets one by one.
MAX_RETAINED_BURSTS = 1024


@dataclass(slots=True)
class _Run:
    """Packets of consecutive numbers that lie one after the other in a burst's copy."""

    first: int
    #: Offsets of the first packet and behind the last one.
    start: int
    end: int
    count: int = 1


@dataclass(slots=True)
class _Kept:
    data: bytes
    stride: int
    runs: list[_Run]


class Retained:
    """The newest packets of one direction, opened."""

    def __init__(self, *, tag_size: int) -> None:
        #: Numbers of the packets kept.
        self.numbers = RangeSet()
        self._tag_size = tag_size
        self._bursts: deque[_Kept] = deque()
        self._bytes = 0
        self._runs: list[_Run] = []

    def note(self, number: int, start: int, end: int) -> None:
        """A packet of the present burst was opened, and lies at ``[start, end)``."""
        last = self._runs[-1] if self._runs else None
        if last is not None and number == last.first + last.count and start == last.end:
            last.count += 1
            last.end = end
        else:
            self._runs.append(_Run(number, start, end))

    def note_following(self, count: int, end: int) -> None:
        """So many packets follow the last one noted, in number and place, up to ``end``."""
        if count:
            self._runs[-1].count += count
            self._runs[-1].end = end

    def keep(self, packets: memoryview, stride: int) -> list[tuple[int, int]]:
        """Keep what was noted of the present burst; return the ranges of its packets' numbers."""
        runs, self._runs = self._runs, []
        if not runs:
            return []
        kept = _Kept(bytes(packets), stride, runs)
        self._bursts.append(kept)
        self._bytes += len(kept.data)
        for run in runs:
            self.numbers.add(run.first, run.first + run.count)
        while self._bytes > MAX_RETAINED_BYTES or len(self._bursts) > MAX_RETAINED_BURSTS:
            oldest = self._bursts.popleft()
            self._bytes -= len(oldest.data)
            for run in oldest.runs:
                self.numbers.remove(run.first, run.first + run.count)
        return [(run.first, run.first + run.count) for run in runs]

    def fill(self, rows: Rows, ranges: tuple[tuple[int, int], ...], layout: SymbolLayout) -> bool:
        """Fill in the symbols of all packets in ``ranges`` that are kept, one a row in their order.

        Returns:
            False: one of them is longer than the symbols are.
        """
        for kept in self._bursts:
            for run in kept.runs:
                row = 0
                for start, end in ranges:
                    low, high = max(start, run.first), min(end, run.first + run.count)
                    if low < high and not self._fill(rows, row + low - start, kept, run, low, high, layout):
                        return False
                    row += end - start
        return True

    def _fill(
        self, rows: Rows, row: int, kept: _Kept, run: _Run, low: int, high: int, layout: SymbolLayout
    ) -> bool:
        position = run.start + (low - run.first) * kept.stride
        last = run.end - (run.start + (run.count - 1) * kept.stride)  # bytes of the run's last packet
        data = np.frombuffer(kept.data, dtype=np.uint8)
        shorter = high == run.first + run.count and last != kept.stride
        whole = high - low - shorter
        for count, size in ((whole, kept.stride), (int(shorter), last)):
            if count:
                width = size - self._tag_size - HEADER_BYTES + layout.prefix
                if width > rows.shape[1]:
                    return False
                found = rows[row : row + count, :width]
                found[:] = arena_rows(
                    data, position=position, count=count, size=size, tag_size=self._tag_size,
                    prefix=layout.prefix,
                )  # fmt: skip
                layout.write_heads(found, low)
                row, position, low = row + count, position + count * size, low + count
        return True
