"""Burst: losses come in bursts of a mean length, at the rate that loss says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Modifiers, Quiet, Stage
from node.links.units import UnitError, parse_mean_packets

#: A longer mean is a link that fails, and belongs into a timeline.
MAX_BURST = 10_000


@IMPAIRMENTS.register("burst")
@dataclass(frozen=True, slots=True)
class Burst(Quiet):
    """Losses come in bursts of ``packets`` on average (Gilbert–Elliott); the mean loss stays what it is."""

    name: ClassVar[str] = "burst"
    stage: ClassVar[Stage] = Stage.BURST
    description: ClassVar[str] = (
        "Mean length of a burst of losses, in packets; needs a loss, the mean of which stays."
    )
    example: ClassVar[str] = "3p"

    packets: float = 0.0

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``3p`` or ``2.5p``."""
        packets = parse_mean_packets(value)
        if not 1 <= packets <= MAX_BURST:
            raise UnitError(f"{value!r}: a burst is 1p to {MAX_BURST}p long on average; write for example 3p")
        return cls(packets)

    def format(self) -> str:
        """Write ``3p``."""
        return f"{self.packets:g}p"

    def modify(self, modifiers: Modifiers) -> None:
        """Tell loss."""
        modifiers.burst = self.packets
