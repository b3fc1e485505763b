"""Random loss, each packet on its own."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from node.links.impairments.base import IMPAIRMENTS, PacketFate, Stage
from node.links.impairments.ratio import Ratio
from node.links.units import format_ratio


@IMPAIRMENTS.register("loss")
@dataclass(frozen=True, slots=True)
class Loss(Ratio):
    """Share of packets lost, each on its own."""

    name: ClassVar[str] = "loss"
    stage: ClassVar[Stage] = Stage.LOSS
    description: ClassVar[str] = "Share of packets lost, each on its own."
    example: ClassVar[str] = "1%"

    def netem_arguments(self) -> tuple[str, ...]:
        """Return ``loss random 1%``."""
        return ("loss", "random", format_ratio(self.ratio))

    def decide(self, packet: PacketFate, rng: Random) -> None:
        """Drop the copy with the probability."""
        if self.ratio and rng.random() < self.ratio:
            packet.dropped = True
