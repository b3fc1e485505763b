"""When each of many connections wants to be called next: a heap, so that nobody asks all of them."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from node.protocol.time import Instant

T = TypeVar("T", bound=Hashable)

#: Entries that are out of date are thrown away when they are more than the others and so many: a connection
#: moves its idle time-out with each packet, and its old ones would lie in the heap for all that time.
_SPARE = 64


class DueTimes(Generic[T]):
    """One time for each item at most; of one instant, those first that were set first."""

    def __init__(self) -> None:
        self._times: dict[T, tuple[Instant, int]] = {}
        self._heap: list[tuple[Instant, int, T]] = []
        self._sequence = 0

    def __len__(self) -> int:
        """Return how many entries are held, those out of date included."""
        return len(self._heap)

    def set(self, item: T, due: Instant | None) -> None:
        """Give an item its time, in place of that of before; None: it has none."""
        before = self._times.get(item)
        if due is None:
            self._times.pop(item, None)
        elif before is None or before[0] != due:
            self._sequence += 1
            self._times[item] = due, self._sequence
            heappush(self._heap, (due, self._sequence, item))
        if len(self._heap) > 2 * len(self._times) + _SPARE:
            self._heap = [(at, sequence, found) for found, (at, sequence) in self._times.items()]
            heapify(self._heap)

    def next(self) -> Instant | None:
        """Return the earliest time."""
        heap = self._heap
        while heap and self._times.get(heap[0][2]) != heap[0][:2]:
            heappop(heap)
        return heap[0][0] if heap else None

    def take(self, now: Instant) -> list[T]:
        """Return the items whose time has come, in order; they have none any more."""
        found: list[T] = []
        while (due := self.next()) is not None and due <= now:
            item = heappop(self._heap)[2]
            del self._times[item]
            found.append(item)
        return found
