"""Systematic Reed-Solomon over GF(256) by a Cauchy matrix (SPEC 12.2-3): any k of n symbols suffice.

A Cauchy matrix has the elements 1 / (x_i + y_j), here x_i = 255 - i for repair symbol i, y_j = j for row j.
Every square part of it has an inverse, given by a formula: nothing needs to be eliminated. That stays so when
columns are scaled; they are, so that repair symbol 0 is plain parity, which costs a thirtieth of the others.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache, reduce
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from node.protocol.fec.base import FEC_SCHEMES, Rows, Shape
from node.protocol.fec.galois import LANES, inverse, lane_table, multiply, unpack
from node.protocol.wire.fec_frames import MAX_BLOCK_PACKETS, MAX_REPAIRS

#: How many standard deviations beyond the mean number of losses a block repairs: of one block in twenty
#: more is lost than that, and then ARQ sends again what would have cost as much in repair of all the others.
MARGIN = 1.5


def coefficient(repair: int, row: int) -> int:
    """Return the factor of a row in a repair symbol (addition in the field is XOR)."""
    return multiply(255 ^ row, inverse((255 - repair) ^ row))


@lru_cache(maxsize=MAX_BLOCK_PACKETS * MAX_REPAIRS // LANES)
def _table(group: int, row: int) -> NDArray[np.uint64]:
    first = 1 + group * LANES  # behind the parity
    return lane_table([coefficient(repair, row) for repair in range(first, first + LANES)])


class _Cauchy:
    def __init__(self, repairs: int, size: int) -> None:
        self._count = repairs
        self._parity = np.zeros(size, dtype=np.uint8)
        groups = -(-(repairs - 1) // LANES)
        self._words = [np.zeros(size, dtype=np.uint64) for _ in range(groups)]
        self._next = 0

    def add(self, symbols: Rows) -> None:
        size = symbols.shape[1]
        parity = self._parity[:size]
        parity ^= np.bitwise_xor.reduce(symbols, axis=0)
        for group, words in enumerate(self._words):
            target = words[:size]
            for row, symbol in enumerate(symbols, self._next):
                target ^= _table(group, row).take(symbol)
        self._next += len(symbols)

    def repairs(self, most: int) -> Rows:
        lanes = [unpack(words, LANES) for words in self._words]
        return np.concatenate([self._parity[np.newaxis], *lanes])[: min(most, self._count)]


@FEC_SCHEMES.register("reed-solomon")
class ReedSolomon:
    """The most repair for its overhead, whatever the pattern of losses; a little CPU for each packet."""

    name: ClassVar[str] = "reed-solomon"
    incremental: ClassVar[bool] = True

    def encoder(self, repairs: int, size: int) -> _Cauchy:
        return _Cauchy(repairs, size)

    def repairable(self, missing: Sequence[int], repairs: Collection[int], total: int) -> list[int]:
        return list(missing) if len(missing) <= len(repairs) else []

    def rebuild(self, rows: Rows, missing: Sequence[int], repairs: Mapping[int, Rows], total: int) -> None:
        if not missing or len(missing) > len(repairs):
            return
        chosen = sorted(repairs)[: len(missing)]
        encoder = _Cauchy(chosen[-1] + 1, rows.shape[1])
        encoder.add(rows)  # the missing rows are zero, and so add nothing
        of_known = encoder.repairs(MAX_REPAIRS)
        unknown = [repairs[index] ^ of_known[index] for index in chosen]
        solution = invert(chosen, missing)
        for begin in range(0, len(missing), LANES):
            group = missing[begin : begin + LANES]
            words = np.zeros(rows.shape[1], dtype=np.uint64)
            for column, symbol in enumerate(unknown):
                words ^= lane_table([line[column] for line in solution[begin : begin + LANES]]).take(symbol)
            rows[group] = unpack(words, len(group))

    def shape(self, *, loss: float, burst: float, packets: int, overhead: float) -> Shape:
        packets = min(packets, MAX_BLOCK_PACKETS)
        # Losses in a block: their mean, and a deviation that grows with the runs they come in.
        mean = packets * loss
        deviation = math.sqrt(mean * (1 - loss) * (2 * burst - 1))
        repairs = min(math.ceil(mean + MARGIN * deviation), int(packets * overhead), MAX_REPAIRS)
        return Shape(max(packets, math.ceil(1 / overhead)), max(1, repairs))


def _product(values: Iterable[int]) -> int:
    return reduce(multiply, values, 1)


def invert(repairs: Sequence[int], rows: Sequence[int]) -> list[list[int]]:
    """Return the inverse of the part of the matrix with these repair symbols and rows.

    With x the repair symbols' elements and y the rows', a Cauchy matrix's inverse has the entries
    prod_k (x_j + y_k)(x_k + y_i) / ((x_j + y_i) prod_{k≠j} (x_j + x_k) prod_{k≠i} (y_i + y_k)),
    and the scale of column i, 255 + y_i, is taken out of row i again.
    """
    x, y = [255 - repair for repair in repairs], list(rows)
    across = [_product(value ^ other for other in y) for value in x]  # prod_k (x_j + y_k)
    down = [_product(value ^ other for other in x) for value in y]  # prod_k (x_k + y_i)
    of_x = [_product(value ^ other for other in x if other != value) for value in x]
    of_y = [_product(value ^ other for other in y if other != value) for value in y]
    return [
        [
            multiply(
                multiply(across[j], down[i]),
                inverse(multiply(multiply(255 ^ y[i], x[j] ^ y[i]), multiply(of_x[j], of_y[i]))),
            )
            for j in range(len(x))
        ]
        for i in range(len(y))
    ]
