"""The receiver's side: repair symbols wait for the blocks they complete, and lost payloads come back.

All work is bounded: a block is looked at when one of its packets or repair symbols arrives, and rebuilt
once for each packet that this brings back (SPEC 12.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.fec.base import FecScheme, Rows
from node.protocol.ranges import RangeSet
from node.protocol.recovery.acknowledgements import Acknowledgements
from node.protocol.repair.blocks import MAX_BLOCK_BYTES
from node.protocol.repair.retained import Retained
from node.protocol.repair.symbols import SymbolLayout
from node.protocol.time import Instant
from node.protocol.wire.fec_frames import MAX_RECOVERED_RANGES, FecRecovered, FecRepair

#: Blocks that wait for further symbols; the oldest goes for a new one.
MAX_OPEN_BLOCKS = 16
#: Bytes of repair symbols that wait; the oldest block goes.
MAX_WAITING_BYTES = 1024 * 1024
#: Ranges of rebuilt packets remembered: twice what a report holds.
MAX_REBUILT_RANGES = 2 * MAX_RECOVERED_RANGES

#: Handles the frames of a rebuilt payload; False: they could not be taken.
TakePayload = Callable[[int, bytes, Instant], bool]


@dataclass(slots=True)
class _OpenBlock:
    ranges: tuple[tuple[int, int], ...]
    total: int
    size: int
    #: Repair symbols at hand, by index.
    repairs: dict[int, Rows] = field(default_factory=dict)
    #: Source symbols rebuilt, by position.
    rebuilt: dict[int, Rows] = field(default_factory=dict)

    @property
    def end(self) -> int:
        return self.ranges[-1][1]

    @property
    def packets(self) -> int:
        return sum(end - start for start, end in self.ranges)

    def positions(self, numbers: list[tuple[int, int]]) -> dict[int, int]:
        """Return the positions in the block of packet numbers that it covers."""
        found, before = {}, 0
        for start, end in self.ranges:
            for low, high in numbers:
                for number in range(max(low, start), min(high, end)):
                    found[number] = before + number - start
            before += end - start
        return found


class Rebuilder:
    """Rebuilds payloads of lost packets, and knows which it has rebuilt."""

    def __init__(
        self, scheme: FecScheme, code: int, layout: SymbolLayout, acks: Acknowledgements, *,
        retained: Retained, take: TakePayload,
    ) -> None:  # fmt: skip
        self.retained = retained
        #: Numbers of packets whose payloads were rebuilt and handled; the newest ranges.
        self.rebuilt = RangeSet()
        #: Whether something was rebuilt that the peer has not been told.
        self.report_due = False
        self.repairs_received = 0
        self.packets_rebuilt = 0
        #: Blocks given up with packets missing, and rebuilt payloads that were damaged.
        self.blocks_unrepaired = 0
        self.payloads_spoilt = 0
        self._scheme, self._code, self._layout, self._acks, self._take = scheme, code, layout, acks, take
        self._open: dict[int, _OpenBlock] = {}
        self._waiting_bytes = 0
        self._touched: list[int] = []

    def on_repair(self, frame: FecRepair) -> None:
        """Keep a repair symbol, if its block lacks packets.

        Raises:
            RemoteProtocolError: it breaks SPEC 12.1, or contradicts its block's other symbols.
        """
        packets, size = sum(end - start for start, end in frame.ranges), len(frame.symbol)
        if frame.scheme != self._code or not self._layout.prefix < size <= MAX_BLOCK_BYTES // packets:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "repair of another scheme or size")
        self.repairs_received += 1
        first = frame.ranges[0][0]
        block = self._open.get(first)
        if block is None:
            if not self._missing(frame.ranges):
                return
            end = frame.ranges[-1][1]
            if any(other.end > first and low < end for low, other in self._open.items()):
                raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "blocks that overlap")
            block = self._open[first] = _OpenBlock(frame.ranges, frame.total, size)
        if (block.ranges, block.total, block.size) != (frame.ranges, frame.total, size):
            raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "repair that contradicts its block")
        if frame.index not in block.repairs:
            block.repairs[frame.index] = np.frombuffer(bytes(frame.symbol), dtype=np.uint8)
            self._waiting_bytes += size
            self._touched.append(first)
        while len(self._open) > MAX_OPEN_BLOCKS or self._waiting_bytes > MAX_WAITING_BYTES:
            self._close(next(iter(self._open)))

    def after_burst(self, packets: memoryview, stride: int, *, now: Instant) -> None:
        """Keep the packets of a burst that was handled, and rebuild what can be rebuilt now."""
        arrived = self.retained.keep(packets, stride)
        touched, self._touched = self._touched, []
        for first, block in list(self._open.items()):
            if first in touched or any(low < block.end and high > first for low, high in arrived):
                self._rebuild(first, block, now)

    def recovered(self) -> FecRecovered:
        """Return the report of what was rebuilt, the newest ranges (SPEC 12.4-5)."""
        self.report_due = False
        newest = list(reversed(self.rebuilt))[:MAX_RECOVERED_RANGES]
        return FecRecovered(tuple(newest))

    def _missing(self, ranges: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
        """Return which numbers were neither received nor rebuilt: none is rebuilt twice (SPEC 12.4-2)."""
        found = []
        for start, end in ranges:
            for low, high in self._acks.missing(start, end):
                found += self.rebuilt.missing(low, high)
        return found

    def _rebuild(self, first: int, block: _OpenBlock, now: Instant) -> None:
        missing = block.positions(self._missing(block.ranges))
        absent = block.positions(
            [gap for start, end in block.ranges for gap in self.retained.numbers.missing(start, end)]
        )
        unknown = sorted(position for position in absent.values() if position not in block.rebuilt)
        back = self._scheme.repairable(unknown, block.repairs, block.total) if missing else []
        if back or (missing and not unknown):
            rows = np.zeros((block.packets, block.size), dtype=np.uint8)
            if not self.retained.fill(rows, block.ranges, self._layout):
                raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "repair shorter than its packets")
            for position, row in block.rebuilt.items():
                rows[position] = row
            self._scheme.rebuild(rows, unknown, block.repairs, block.total)
            block.rebuilt.update((position, rows[position].copy()) for position in back)
            lacking = set(unknown) - set(back)
            for number, position in missing.items():
                if position not in lacking and self._deliver(number, rows[position], now):
                    self.rebuilt.add(number, number + 1)
                    self.packets_rebuilt += 1
                    self.report_due = True
            while len(self.rebuilt) > MAX_REBUILT_RANGES:
                self.rebuilt.drop_lowest()
        # Whole, or the packets that are still missing will not come by repair.
        if not self._missing(block.ranges) or len(block.rebuilt) == len(absent):
            self._close(first)

    def _deliver(self, number: int, row: Rows, now: Instant) -> bool:
        payload = self._layout.payload(number, row)
        if payload is None:
            self.payloads_spoilt += 1
            return False
        return self._take(number, payload, now)

    def _close(self, first: int) -> None:
        block = self._open.pop(first)
        self._waiting_bytes -= block.size * len(block.repairs)
        if self._missing(block.ranges):
            self.blocks_unrepaired += 1
