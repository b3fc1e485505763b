"""A set of integers as sorted, disjoint, half-open ranges: packet numbers and stream offsets.

All the work is done by ranges, never number by number, so that a hostile acknowledgement of
2^62 packets costs no more than one of a single packet.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """Sorted disjoint ranges ``[start, end)``; touching ranges are one."""

    __slots__ = ("ends", "starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        #: Where ranges begin and end. Hot paths ask here whether there are any, and lengthen the last range
        #: in place: what comes as a rule, in order, costs no call.
        self.starts: list[int] = []
        self.ends: list[int] = []
        for start, end in ranges:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Add all of ``[start, end)``; an empty range adds nothing."""
        if start >= end:
            return
        starts, ends = self.starts, self.ends
        if ends and start >= starts[-1]:  # in order or nearly: by far the most common
            if start > ends[-1]:
                starts.append(start)
                ends.append(end)
            elif end > ends[-1]:
                ends[-1] = end
            return
        first = bisect_left(ends, start)
        last = bisect_right(starts, end)
        if first < last:
            start = min(start, starts[first])
            end = max(end, ends[last - 1])
        starts[first:last] = [start]
        ends[first:last] = [end]

    def remove(self, start: int, end: int) -> None:
        """Remove all of ``[start, end)``."""
        if start >= end:
            return
        starts, ends = self.starts, self.ends
        first = bisect_right(ends, start)
        last = bisect_left(starts, end)
        if first >= last:
            return
        left, right = starts[first], ends[last - 1]
        new_starts = [left] if left < start else []
        new_ends = [start] if left < start else []
        if right > end:
            new_starts.append(end)
            new_ends.append(right)
        starts[first:last] = new_starts
        ends[first:last] = new_ends

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the parts of ``[start, end)`` that are not in the set."""
        gaps = []
        index = bisect_right(self.ends, start)
        while start < end:
            if index >= len(self.starts) or self.starts[index] >= end:
                gaps.append((start, end))
                break
            if self.starts[index] > start:
                gaps.append((start, self.starts[index]))
            start = self.ends[index]
            index += 1
        return gaps

    def drop_lowest(self) -> tuple[int, int]:
        """Remove the lowest range and return it."""
        return self.starts.pop(0), self.ends.pop(0)

    def newest(self, beyond: int, most: int) -> tuple[tuple[int, int], ...]:
        """Return the ranges that end beyond a number, highest first: at most so many, and one in any case."""
        begin = max(bisect_right(self.ends, beyond), len(self.ends) - most)
        begin = max(0, min(begin, len(self.ends) - 1))
        return tuple(zip(self.starts[begin:][::-1], self.ends[begin:][::-1], strict=True))

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self.starts, number) - 1
        return index >= 0 and number < self.ends[index]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.starts, self.ends, strict=True)

    def __reversed__(self) -> Iterator[tuple[int, int]]:
        return zip(reversed(self.starts), reversed(self.ends), strict=True)

    def __len__(self) -> int:
        return len(self.starts)

    def __bool__(self) -> bool:
        return bool(self.starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RangeSet):
            return NotImplemented
        return self.starts == other.starts and self.ends == other.ends

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return "RangeSet(" + ", ".join(f"[{start}, {end})" for start, end in self) + ")"

    @property
    def first(self) -> tuple[int, int]:
        """The lowest range (IndexError when empty)."""
        return self.starts[0], self.ends[0]

    @property
    def last(self) -> tuple[int, int]:
        """The highest range (IndexError when empty)."""
        return self.starts[-1], self.ends[-1]
