"""Jitter: delay that varies from packet to packet, order kept."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Decide, Modifiers, PacketFate, Quiet, Stage
from node.links.impairments.chance import offset
from node.links.units import UnitError, format_duration, parse_duration
from node.protocol.time import SECOND, Duration

#: netem's tabledist() takes the jitter as a signed 32-bit number of ns (2.147 s).
MAX_JITTER: Duration = 2 * SECOND


@IMPAIRMENTS.register("jitter")
@dataclass(frozen=True, slots=True)
class Jitter(Quiet):
    """The delay is uniform in delay ± ``jitter`` ns; its standard deviation is jitter / √3.

    With a ``distribution`` of another name the jitter is the standard deviation.
    """

    name: ClassVar[str] = "jitter"
    stage: ClassVar[Stage] = Stage.JITTER
    description: ClassVar[str] = "The delay is uniform in delay ± jitter; packets keep their order."
    example: ClassVar[str] = "2ms"

    jitter: Duration = 0

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``2ms``."""
        jitter = parse_duration(value)
        if jitter > MAX_JITTER:
            raise UnitError(f"{value!r} is more jitter than netem can make; write at most 2s")
        return cls(jitter)

    def format(self) -> str:
        """Write ``2ms``."""
        return format_duration(self.jitter)

    def modify(self, modifiers: Modifiers) -> None:
        """Tell delay, whose words hold the jitter's."""
        modifiers.jitter = self.jitter

    def decider(self, modifiers: Modifiers) -> Decide | None:
        """Move the delay by a draw, not below zero."""
        if not self.jitter:
            return None
        moved_by = offset(self.jitter, modifiers.distribution, modifiers.delay_correlation)

        def decide(packet: PacketFate, rng: Random) -> None:
            packet.delay_ns = max(0, packet.delay_ns + moved_by(rng))

        return decide
