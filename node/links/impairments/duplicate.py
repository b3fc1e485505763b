"""Duplication: some packets are sent twice."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from node.links.impairments.base import IMPAIRMENTS, Decide, Modifiers, PacketFate, Stage, Words
from node.links.impairments.chance import event
from node.links.impairments.ratio import Ratio
from node.links.units import format_ratio


@IMPAIRMENTS.register("duplicate")
@dataclass(frozen=True, slots=True)
class Duplicate(Ratio):
    """Share of packets sent twice."""

    name: ClassVar[str] = "duplicate"
    stage: ClassVar[Stage] = Stage.DUPLICATE
    description: ClassVar[str] = "Share of packets sent twice."
    example: ClassVar[str] = "0.1%"

    def netem_arguments(self, modifiers: Modifiers) -> Words:
        """Return ``duplicate 1% 0%``."""
        return ("duplicate", format_ratio(self.ratio), format_ratio(modifiers.duplicate_correlation))

    def decider(self, modifiers: Modifiers) -> Decide | None:
        """Send two copies with the probability."""
        happens = event(self.ratio, modifiers.duplicate_correlation)

        def decide(packet: PacketFate, rng: Random) -> None:
            if happens(rng):
                packet.copies = 2

        return decide if self.ratio else None
