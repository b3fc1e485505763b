"""Forward error correction schemes: pure codecs over rows of bytes (SPEC 12.2).

A block is up to 128 source symbols (SPEC 12.2-1), the rows of a matrix, all of one size; a scheme
makes repair symbols of the same size from it, and rebuilds rows that are missing. It knows nothing of
packets: what a row holds is SPEC 12.1's business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from node.registry import Registry

#: Bytes: one row is one symbol.
Rows: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shape:
    """How the next block is to look."""

    packets: int
    repairs: int


class Encoder(Protocol):
    """The repair symbols of one block, made as its source symbols come."""

    def add(self, symbols: Rows) -> None:
        """Take the next rows of the block; a row shorter than the block's symbols ends in zeros."""
        ...

    def repairs(self, most: int) -> Rows:
        """Return at least one and at most ``most`` repair symbols of all rows so far, one a row."""
        ...


class FecScheme(Protocol):
    """One way to make repair symbols. Classes are registered, and never instantiated with state."""

    name: ClassVar[str]
    #: Whether any of a block's repair symbols mends any of its losses, so that some can be kept until it is
    #: known how many are needed.
    incremental: ClassVar[bool]

    def encoder(self, repairs: int, size: int) -> Encoder:
        """Begin a block with so many repair symbols of ``size`` bytes."""
        ...

    def repairable(self, missing: Sequence[int], repairs: Collection[int], total: int) -> list[int]:
        """Return which of the missing rows can be rebuilt, in order.

        Args:
            missing: indices of missing rows, in order.
            repairs: indices of the repair symbols at hand.
            total: how many repair symbols the block has.
        """
        ...

    def rebuild(self, rows: Rows, missing: Sequence[int], repairs: Mapping[int, Rows], total: int) -> None:
        """Fill in the rows that ``repairable`` names; those missing are zero before.

        Args:
            rows: all source symbols of the block.
            repairs: repair symbols by index, each one row.
        """
        ...

    def shape(self, *, loss: float, burst: float, packets: int, overhead: float) -> Shape:
        """Return the block for a path: enough repair for its loss, no more than ``overhead`` allows.

        Args:
            loss: share of packets lost, above 0.
            burst: mean number of packets lost in a row, at least 1.
            packets: source packets that a block may have at the most.
            overhead: repair packets for each source packet at the most.
        """
        ...


FEC_SCHEMES: Registry[type[FecScheme]] = Registry("FEC scheme", "node.protocol.fec")
