"""Reordering: some packets skip the delay and overtake the others."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from node.links.impairments.base import IMPAIRMENTS, PacketFate, Stage
from node.links.impairments.ratio import Ratio
from node.links.units import format_ratio


@IMPAIRMENTS.register("reorder")
@dataclass(frozen=True, slots=True)
class Reorder(Ratio):
    """Share of packets that skip the delay and so overtake others; needs a delay."""

    name: ClassVar[str] = "reorder"
    stage: ClassVar[Stage] = Stage.REORDER
    description: ClassVar[str] = "Share of packets that skip the delay and so overtake others; needs a delay."
    example: ClassVar[str] = "5%"

    def netem_arguments(self) -> tuple[str, ...]:
        """Return ``reorder 5%``."""
        return ("reorder", format_ratio(self.ratio))

    def decide(self, packet: PacketFate, rng: Random) -> None:
        """Let the copy skip the delay line with the probability."""
        if self.ratio and rng.random() < self.ratio:
            packet.reordered = True
            packet.delay_ns = 0
