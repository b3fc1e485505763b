"""Jitter: delay that varies from packet to packet, order kept."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, PacketFate, Stage
from node.links.impairments.netem_time import netem_time
from node.links.units import UnitError, format_duration, parse_duration
from node.protocol.time import SECOND, Duration

#: netem's tabledist() takes the jitter as a signed 32-bit number of ns (2.147 s).
MAX_JITTER: Duration = 2 * SECOND


@IMPAIRMENTS.register("jitter")
@dataclass(frozen=True, slots=True)
class Jitter:
    """The delay is uniform in delay ± ``jitter`` ns; its standard deviation is jitter / √3."""

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

    def netem_arguments(self) -> tuple[str, ...]:
        """Return ``2ms``, which follows delay's words."""
        return (netem_time(self.jitter),)

    def decide(self, packet: PacketFate, rng: Random) -> None:
        """Move the delay by a uniform draw from [-jitter, +jitter), not below zero."""
        if self.jitter:
            moved = packet.delay_ns + rng.randrange(2 * self.jitter) - self.jitter
            packet.delay_ns = max(0, moved)
