"""Random loss, each packet on its own."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar

from node.links.impairments.base import IMPAIRMENTS, Decide, Modifiers, PacketFate, Stage, Words
from node.links.impairments.loss_models import burst_transitions, gilbert_elliott, losing
from node.links.impairments.ratio import Ratio
from node.links.units import format_ratio


@IMPAIRMENTS.register("loss")
@dataclass(frozen=True, slots=True)
class Loss(Ratio):
    """Share of packets lost, each on its own; in bursts, if the set has a ``burst``."""

    name: ClassVar[str] = "loss"
    stage: ClassVar[Stage] = Stage.LOSS
    description: ClassVar[str] = "Share of packets lost, each on its own; in bursts with burst."
    example: ClassVar[str] = "1%"

    def netem_arguments(self, modifiers: Modifiers) -> Words:
        """Return ``loss random 1%``, or for bursts ``loss gemodel p r 1-h 1-k``; ``ecn`` where it marks."""
        # tc refuses the word where nothing is lost.
        ecn = ("ecn",) if modifiers.ecn and (self.ratio or modifiers.loss_model) else ()
        if modifiers.loss_model:
            return ecn
        if modifiers.burst and self.ratio:
            leave, end = burst_transitions(self.ratio, modifiers.burst)
            return ("loss", "gemodel", format_ratio(leave), format_ratio(end), "100%", "0%", *ecn)
        return ("loss", "random", format_ratio(self.ratio), *ecn)

    def decider(self, modifiers: Modifiers) -> Decide | None:
        """Drop the copy with the probability, or mark it."""
        ratio = self.ratio
        if modifiers.burst and ratio:
            leave, end = burst_transitions(ratio, modifiers.burst)
            return losing(gilbert_elliott(leave, end, 1.0, 0.0), ecn=modifiers.ecn)
        if modifiers.ecn:
            return losing(lambda rng: rng.random() < ratio, ecn=True) if ratio else None

        def decide(packet: PacketFate, rng: Random) -> None:
            if rng.random() < ratio:
                packet.dropped = True

        # Without a detour: the commonest impairment after delay.
        return decide if ratio else None
