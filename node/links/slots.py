"""When packets leave that gather for slots (kernel: netem's get_slot_next)."""

from __future__ import annotations

from random import Random

from node.links.impairments.slot import Slot
from node.protocol.time import Instant

_NO_BOUND = 1 << 62


class Slots:
    """Gives each packet of a direction its slot; packets come in order."""

    def __init__(self, slot: Slot, rng: Random) -> None:
        self._slot = slot
        self._rng = rng
        self._opens: Instant = -1
        self._packets = self._bytes = 0

    def leave(self, size: int, arrival: Instant) -> Instant:
        """Return when a packet leaves that came at ``arrival``."""
        if self._opens < arrival:
            self._next(arrival)
        leaves = self._opens
        self._packets -= 1
        self._bytes -= size
        if self._packets <= 0 or self._bytes <= 0:
            self._next(leaves)
        return leaves

    def _next(self, now: Instant) -> None:
        slot = self._slot
        self._opens = now + slot.shortest
        if slot.longest > slot.shortest:
            self._opens += self._rng.randrange(slot.longest - slot.shortest)
        self._packets = slot.packets or _NO_BOUND
        self._bytes = slot.size or _NO_BOUND
