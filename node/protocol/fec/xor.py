"""XOR parity with interleave (SPEC 12.2-2): repair symbol i is the XOR of every d-th row from row i on.

Each repair symbol mends one loss among its rows, so d of them mend any run of up to d lost packets.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import numpy as np

from node.protocol.fec.base import FEC_SCHEMES, Rows, Shape
from node.protocol.wire.fec_frames import MAX_BLOCK_PACKETS, MAX_REPAIRS

#: Losses expected among the rows of one repair symbol: two or more then happen once in twenty times.
LOSSES_EACH = 0.32
#: Repair symbols for each packet of a mean run of losses: runs are often longer than their mean.
RUN_MARGIN = 1.5


class _Parity:
    def __init__(self, repairs: int, size: int) -> None:
        self._sums = np.zeros((repairs, size), dtype=np.uint8)
        self._next = 0  # which repair symbol the next row belongs to

    def add(self, symbols: Rows) -> None:
        depth, (count, size) = len(self._sums), symbols.shape
        for start in range(min(depth, count)):
            total = self._sums[(self._next + start) % depth, :size]
            mine = symbols[start::depth]
            total ^= mine[0] if len(mine) == 1 else np.bitwise_xor.reduce(mine, axis=0)
        self._next = (self._next + count) % depth

    def repairs(self, most: int) -> Rows:
        depth = len(self._sums)
        fewer = next(count for count in range(min(most, depth), 0, -1) if depth % count == 0)
        # Every so many sums added up are the sums of a smaller interleave.
        folded: Rows = np.bitwise_xor.reduce(self._sums.reshape(depth // fewer, fewer, -1), axis=0)
        return folded


@FEC_SCHEMES.register("xor")
class Xor:
    """Cheap, and enough for single losses and for runs no longer than the interleave."""

    name: ClassVar[str] = "xor"
    incremental: ClassVar[bool] = False

    def encoder(self, repairs: int, size: int) -> _Parity:
        return _Parity(repairs, size)

    def repairable(self, missing: Sequence[int], repairs: Collection[int], total: int) -> list[int]:
        losses: dict[int, int] = {}
        for row in missing:
            losses[row % total] = losses.get(row % total, 0) + 1
        return [row for row in missing if losses[row % total] == 1 and row % total in repairs]

    def rebuild(self, rows: Rows, missing: Sequence[int], repairs: Mapping[int, Rows], total: int) -> None:
        for row in self.repairable(missing, repairs, total):
            of = row % total
            rows[row] = repairs[of] ^ np.bitwise_xor.reduce(rows[of::total], axis=0)

    def shape(self, *, loss: float, burst: float, packets: int, overhead: float) -> Shape:
        # Rows that stand apart by more than a run see its losses one by one.
        each = max(math.ceil(1 / overhead), min(packets, MAX_BLOCK_PACKETS, round(LOSSES_EACH / loss)))
        depth = max(math.ceil(RUN_MARGIN * burst), packets // each)
        depth = max(1, min(depth, MAX_REPAIRS, MAX_BLOCK_PACKETS // each))
        depth = 1 << (depth.bit_length() - 1)  # a power of two can be halved if the block ends early
        return Shape(each * depth, depth)
