"""Which packet numbers of an epoch have been received: a bitmap in an ``int`` (SPEC 14-4)."""

from __future__ import annotations

#: Numbers below the highest that are still told apart: four of the largest datagrams, out of order.
WINDOW_BITS = 1024
_MASK = (1 << WINDOW_BITS) - 1


class ReplayWindow:
    """The newest packet numbers of one epoch; all older ones count as received."""

    __slots__ = ("_bits", "_highest")

    def __init__(self) -> None:
        self._highest = -1
        #: Bit n: number ``_highest - n`` has been received.
        self._bits = 0

    def is_replay(self, number: int) -> bool:
        """Whether a number was received before, or is too old to tell."""
        behind = self._highest - number
        if behind < 0:
            return False
        return behind >= WINDOW_BITS or bool(self._bits >> behind & 1)

    def has(self, number: int) -> bool:
        """Whether a number was received before, as far as that can still be told."""
        return 0 <= self._highest - number < WINDOW_BITS and self.is_replay(number)

    def add(self, number: int) -> None:
        """Note a number that ``is_replay`` let pass, after its packet has proved to be authentic."""
        ahead = number - self._highest
        if ahead > 0:
            # Not shifted by more than the window: the sender chooses the number, and 2^64 bits are too many.
            self._bits = (self._bits << ahead & _MASK) | 1 if ahead < WINDOW_BITS else 1
            self._highest = number
        else:
            self._bits |= 1 << -ahead
