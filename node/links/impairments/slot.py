"""Slot: packets gather, and go in bursts, as on a shared radio or cable channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Quiet, Stage
from node.links.units import (
    UnitError,
    format_duration,
    format_packets,
    format_size,
    parse_duration,
    parse_packets,
    parse_size,
)
from node.protocol.time import SECOND, Duration

MAX_SLOT_DELAY: Duration = 2 * SECOND
MAX_SLOT = 1_000_000_000


@IMPAIRMENTS.register("slot")
@dataclass(frozen=True, slots=True)
class Slot(Quiet):
    """A slot opens ``shortest`` to ``longest`` ns after a packet found none open; all that wait go then.

    At most ``packets`` and ``size`` bytes go in one slot (0: no bound); then the next one is waited for.
    """

    name: ClassVar[str] = "slot"
    stage: ClassVar[Stage] = Stage.SLOT
    description: ClassVar[str] = (
        "Packets gather and go in bursts: shortest and longest wait for a slot, packets and bytes it takes."
    )
    example: ClassVar[str] = "800us 1ms 5p 64kB"

    shortest: Duration = 0
    longest: Duration = 0
    packets: int = 0
    size: int = 0

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``800us 1ms 5p 64kB``; all but the first may be left out."""
        words = value.split() if isinstance(value, str) else []
        waits: list[Duration] = []
        packets = size = 0
        for word in words:
            if word.endswith("p"):
                packets = parse_packets(word)
            elif word.endswith("B"):
                size = parse_size(word)
            else:
                waits.append(parse_duration(word))
        if not 1 <= len(waits) <= 2:
            raise UnitError(f"{value!r} is no slot; write for example {cls.example}, or 1ms alone")
        if not 0 < waits[0] <= waits[-1] <= MAX_SLOT_DELAY:
            raise UnitError(f"{value!r}: waits for a slot go from short to long, above 0 and up to 2s")
        if packets > MAX_SLOT or size > MAX_SLOT:
            raise UnitError(
                f"{value!r}: a slot takes up to {MAX_SLOT} packets and bytes; leave them out for no bound"
            )
        return cls(waits[0], waits[-1], packets, size)

    def format(self) -> str:
        """Write ``800us 1ms 5p 64kB``."""
        words = [format_duration(self.shortest), format_duration(self.longest)]
        words += [format_packets(self.packets)] if self.packets else []
        words += [format_size(self.size)] if self.size else []
        return " ".join(words)
