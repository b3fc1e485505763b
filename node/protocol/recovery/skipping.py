"""Packet numbers left out by chance, against receivers that acknowledge what they never got (SPEC 4-5).

Such a receiver makes the sender faster than the path allows (RFC 9000 §21.4). It cannot tell which numbers
were skipped, and an honest one never acknowledges them.
"""

from __future__ import annotations

from bisect import bisect_left
from random import Random

from node.protocol.wire.packet_number import MAX_PACKET_NUMBER

#: On average a number in so many is skipped at first: within the first windows of a bulk transfer.
FIRST_DISTANCE = 256
#: The distance doubles up to this: each skipped number is a gap that the receiver reports eight times.
LAST_DISTANCE = 4096
#: Skipped numbers that are remembered: more than ever are in flight.
MAX_REMEMBERED = 64


class SkippedNumbers:
    """Chooses the numbers, and recognises them.

    Args:
        rng: must not be known to the peer; None: no number is skipped.
    """

    def __init__(self, rng: Random | None) -> None:
        self._rng = rng
        self._distance = FIRST_DISTANCE
        #: ``after`` need not be asked below this number.
        self.next = MAX_PACKET_NUMBER if rng is None else 1 + rng.randrange(2 * FIRST_DISTANCE)
        self._skipped: list[int] = []
        #: The highest of them: an acknowledgement above it has none.
        self.highest = -1

    def after(self, number: int) -> int:
        """Return the number that the next packet has, ``number`` being the one that follows the last."""
        if self._rng is None or number < self.next:
            return number
        self._skipped.append(number)
        self.highest = number
        del self._skipped[:-MAX_REMEMBERED]
        self._distance = min(2 * self._distance, LAST_DISTANCE)
        self.next = number + 2 + self._rng.randrange(2 * self._distance)
        return number + 1

    def any_in(self, start: int, end: int) -> bool:
        """Whether a number in ``[start, end)`` was skipped."""
        index = bisect_left(self._skipped, start)
        return index < len(self._skipped) and self._skipped[index] < end
