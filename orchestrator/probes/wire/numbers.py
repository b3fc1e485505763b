"""Sets of packet numbers as ranges: they are never walked number by number but for what is new."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class Numbers:
    """A set of numbers, kept as ranges in order."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        #: Range i is [starts[i], ends[i]], ends included.
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __contains__(self, number: int) -> bool:
        return self.holds(number, number)

    @property
    def largest(self) -> int:
        """The largest number; -1: there is none."""
        return self._ends[-1] if self._ends else -1

    def holds(self, smallest: int, largest: int) -> bool:
        """Return whether all of [smallest, largest] is in the set."""
        at = bisect_right(self._starts, smallest) - 1
        return at >= 0 and self._ends[at] >= largest

    def first_missing(self, smallest: int, largest: int) -> int | None:
        """Return the lowest of [smallest, largest] that is not in the set; None: all are."""
        at = bisect_right(self._starts, smallest) - 1
        if at < 0 or self._ends[at] < smallest:
            return smallest
        return None if self._ends[at] >= largest else self._ends[at] + 1

    def missing_above(self, number: int) -> Iterator[int]:
        """Yield the numbers above ``number`` and below the largest that are not in the set."""
        at = max(0, bisect_right(self._starts, number) - 1)
        for end, start in zip(self._ends[at:], self._starts[at + 1 :], strict=False):
            yield from range(max(end, number) + 1, start)

    def add(self, smallest: int, largest: int) -> list[tuple[int, int]]:
        """Add [smallest, largest]; return the ranges of it that are new."""
        starts, ends = self._starts, self._ends
        if ends and smallest == ends[-1] + 1:  # the common case
            ends[-1] = largest
            return [(smallest, largest)]
        first = bisect_left(ends, smallest - 1)
        last = bisect_right(starts, largest + 1)
        if first < last and starts[first] <= smallest and ends[first] >= largest:
            return []
        new, at = [], smallest
        for start, end in zip(starts[first:last], ends[first:last], strict=True):
            if at < start:
                new.append((at, start - 1))
            at = max(at, end + 1)
        if at <= largest:
            new.append((at, largest))
        if first < last:
            smallest, largest = min(smallest, starts[first]), max(largest, ends[last - 1])
        starts[first:last], ends[first:last] = [smallest], [largest]
        return new
