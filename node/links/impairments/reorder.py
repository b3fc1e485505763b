"""Reordering: some packets skip the delay and overtake the others."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from node.links.impairments.base import IMPAIRMENTS, Decide, Modifiers, PacketFate, Stage, Words
from node.links.impairments.chance import event
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

    def netem_arguments(self, modifiers: Modifiers) -> Words:
        """Return ``reorder 5% 0% gap 1``."""
        correlation = format_ratio(modifiers.reorder_correlation)
        gap = ("gap", str(modifiers.gap)) if self.ratio else ()
        return ("reorder", format_ratio(self.ratio), correlation, *gap)

    def decider(self, modifiers: Modifiers) -> Decide | None:
        """Let the copy skip the delay line with the probability, when enough others have not."""
        happens, gap = event(self.ratio, modifiers.reorder_correlation), modifiers.gap
        waited = 0

        def decide(packet: PacketFate, rng: Random) -> None:
            nonlocal waited
            if waited >= gap - 1 and happens(rng):
                waited = 0
                packet.reordered = True
                packet.delay_ns = 0
            else:
                waited += 1

        return decide if self.ratio else None
