"""Corruption: one bit of some packets is flipped."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from node.links.impairments.base import IMPAIRMENTS, Decide, Modifiers, PacketFate, Stage, Words
from node.links.impairments.chance import event
from node.links.impairments.ratio import Ratio
from node.links.units import format_ratio


@IMPAIRMENTS.register("corrupt")
@dataclass(frozen=True, slots=True)
class Corrupt(Ratio):
    """Share of packets with one bit flipped."""

    name: ClassVar[str] = "corrupt"
    stage: ClassVar[Stage] = Stage.CORRUPT
    description: ClassVar[str] = "Share of packets with one bit flipped."
    example: ClassVar[str] = "0.01%"

    def netem_arguments(self, modifiers: Modifiers) -> Words:
        """Return ``corrupt 1% 0%``."""
        return ("corrupt", format_ratio(self.ratio), format_ratio(modifiers.corrupt_correlation))

    def decider(self, modifiers: Modifiers) -> Decide | None:
        """Flip one bit anywhere in the frame with the probability."""
        happens = event(self.ratio, modifiers.corrupt_correlation)

        def decide(packet: PacketFate, rng: Random) -> None:
            if happens(rng):
                packet.corrupt_bits = (*packet.corrupt_bits, rng.randrange(8 * packet.size))

        return decide if self.ratio else None
