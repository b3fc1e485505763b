"""Gap: how far apart packets that overtake are at least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Modifiers, Quiet, Stage
from node.links.units import UnitError, format_packets, parse_packets

MAX_GAP = 1_000_000


@IMPAIRMENTS.register("gap")
@dataclass(frozen=True, slots=True)
class Gap(Quiet):
    """At most one in ``packets`` overtakes; with ``reorder: 100%`` exactly each such one."""

    name: ClassVar[str] = "gap"
    stage: ClassVar[Stage] = Stage.GAP
    description: ClassVar[str] = (
        "At most one packet in so many overtakes; needs reorder, with 100% exactly each such one."
    )
    example: ClassVar[str] = "5p"

    packets: int = 1

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``5p``."""
        packets = parse_packets(value)
        if not 1 <= packets <= MAX_GAP:
            raise UnitError(f"{value!r}: a gap is 1p to {MAX_GAP}p; write for example 5p")
        return cls(packets)

    def format(self) -> str:
        """Write ``5p``."""
        return format_packets(self.packets)

    def modify(self, modifiers: Modifiers) -> None:
        """Tell reorder."""
        modifiers.gap = self.packets
