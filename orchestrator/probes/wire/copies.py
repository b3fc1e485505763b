"""Finds what a damaged packet was: a good one of the same length, sent before it, and a few bits away.

A packet is known by its parts, of which a flipped bit spoils only one: so what it is compared with is looked
up, and few, however many were sent.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Generic, TypeVar

from node.dissectors.protection import Bytes

_PARTS = 4
#: So many bits may differ from the good one: netem flips one on each corrupting link.
_MAX_FLIPPED = 8
#: Parts of different packets may be equal (zeros, say); so many are looked at, the latest sent before.
_MAX_CANDIDATES = 64

T = TypeVar("T")
_Key = tuple[int, int, int]


class Copies(Generic[T]):
    """Good packets, to be added in order of time."""

    def __init__(self) -> None:
        #: A part → when packets with it were sent, in order, and what they are.
        self._index: dict[_Key, tuple[list[int], list[tuple[Bytes, T]]]] = {}

    def add(self, data: Bytes, at: int, item: T) -> None:
        """Add the packet ``data``, sent at ``at``: ``item``."""
        for key in _keys(data):
            times, packets = self._index.setdefault(key, ([], []))
            times.append(at)
            packets.append((data, item))

    def nearest(
        self, data: Bytes, at: int, *, ignored: int = 0, fits: Callable[[T], bool] = lambda item: True
    ) -> tuple[int, T] | None:
        """Return what differs least from a packet that came at ``at``: the bits that differ, and the item.

        Args:
            data: the packet.
            at: when it came; nothing later is a candidate.
            ignored: bits that do not count, unless no others differ.
            fits: whether an item may be meant.
        """
        wanted = int.from_bytes(data, "big")
        best: tuple[int, int, T] | None = None
        for key in _keys(data):
            times, packets = self._index.get(key, ((), ()))
            last = bisect_right(times, at)
            for candidate, item in packets[max(0, last - _MAX_CANDIDATES) : last]:
                difference = wanted ^ int.from_bytes(candidate, "big")
                difference = difference & ~ignored or difference
                bits = difference.bit_count()
                if bits <= _MAX_FLIPPED and (best is None or bits < best[0]) and fits(item):
                    best = bits, difference, item
        return None if best is None else best[1:]


def _keys(data: Bytes) -> list[_Key]:
    size = len(data)
    cuts = [size * part // _PARTS for part in range(_PARTS + 1)]
    return [(size, part, hash(data[cuts[part] : cuts[part + 1]])) for part in range(_PARTS)]
