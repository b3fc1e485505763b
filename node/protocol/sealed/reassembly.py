"""Putting fragments together in bounded memory and time (SPEC 14.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from node.protocol.time import SECOND, Duration, Instant
from node.protocol.wire.sealed import FRAGMENT_BYTES, MAX_DATAGRAM_BYTES

#: SPEC 14.2-3: memory for what is incomplete of one peer (four of the largest) and of all; the oldest
#: makes room.
MAX_BYTES_OF_PEER = 4 * (MAX_DATAGRAM_BYTES + FRAGMENT_BYTES)
MAX_BYTES = 16 * MAX_BYTES_OF_PEER
#: What an incomplete datagram costs beside its bytes.
OVERHEAD_BYTES = 512
#: Nothing is sent again, so what has not come by now was lost: twice the longest path's delay.
TIMEOUT: Duration = 5 * SECOND

#: Source address, epoch, number of the first fragment's packet.
Key: TypeAlias = tuple[int, bytes, int]


@dataclass(slots=True)
class _Partial:
    """One datagram, some fragments of which are there."""

    buffer: bytearray
    count: int
    deadline: Instant
    #: Bit n: fragment n is there.
    present: int = 0
    #: Bytes of the last fragment, once it is there.
    last_size: int = 0

    @property
    def cost(self) -> int:
        """Bytes that it counts for."""
        return len(self.buffer) + OVERHEAD_BYTES


@dataclass(slots=True)
class Reassembly:
    """All incomplete datagrams, oldest first."""

    #: Given up: for want of room, and for want of fragments.
    crowded_out: int = 0
    timed_out: int = 0
    #: Bytes held.
    held: int = 0
    _partials: dict[Key, _Partial] = field(default_factory=dict)
    _held_of: dict[int, int] = field(default_factory=dict)

    def add(self, key: Key, index: int, count: int, data: memoryview, *, now: Instant) -> bytes | None:
        """Take fragment ``index`` of ``count``; return the datagram if it was the last one missing.

        The caller has checked index, count and length (SPEC 14.2-1), and that the packet is no replay.
        A fragment that contradicts the others of its datagram is ignored.
        """
        partial = self._partials.get(key)
        if partial is None:
            partial = self._begin(key, count, now)
        elif partial.count != count:
            return None
        start = index * FRAGMENT_BYTES
        partial.buffer[start : start + len(data)] = data
        partial.present |= 1 << index
        if index == count - 1:
            partial.last_size = len(data)
        if partial.present != (1 << count) - 1:
            return None
        self._drop(key)
        return bytes(memoryview(partial.buffer)[: (count - 1) * FRAGMENT_BYTES + partial.last_size])

    def expire(self, *, now: Instant) -> None:
        """Give up what has waited too long."""
        while self._partials:
            key, partial = next(iter(self._partials.items()))
            if partial.deadline > now:
                return
            self.timed_out += 1
            self._drop(key)

    @property
    def deadline(self) -> Instant | None:
        """When ``expire`` has something to do."""
        return next(iter(self._partials.values())).deadline if self._partials else None

    def held_of(self, source: int) -> int:
        """Return the bytes held for one peer."""
        return self._held_of.get(source, 0)

    def _begin(self, key: Key, count: int, now: Instant) -> _Partial:
        partial = _Partial(bytearray(count * FRAGMENT_BYTES), count, now + TIMEOUT)
        while self.held_of(key[0]) + partial.cost > MAX_BYTES_OF_PEER:
            self._crowd_out(next(other for other in self._partials if other[0] == key[0]))
        while self.held + partial.cost > MAX_BYTES:
            self._crowd_out(next(iter(self._partials)))
        self._partials[key] = partial
        self.held += partial.cost
        self._held_of[key[0]] = self.held_of(key[0]) + partial.cost
        return partial

    def _crowd_out(self, key: Key) -> None:
        self.crowded_out += 1
        self._drop(key)

    def _drop(self, key: Key) -> None:
        cost = self._partials.pop(key).cost
        self.held -= cost
        left = self._held_of[key[0]] - cost
        if left:
            self._held_of[key[0]] = left
        else:
            del self._held_of[key[0]]
