"""Duplication: some packets are sent twice."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from node.links.impairments.base import IMPAIRMENTS, PacketFate, Stage
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

    def netem_arguments(self) -> tuple[str, ...]:
        """Return ``duplicate 1%``."""
        return ("duplicate", format_ratio(self.ratio))

    def decide(self, packet: PacketFate, rng: Random) -> None:
        """Send two copies with the probability."""
        if self.ratio and rng.random() < self.ratio:
            packet.copies = 2
