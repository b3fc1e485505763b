"""Constant delay: propagation."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, PacketFate, Stage
from node.links.impairments.netem_time import netem_time
from node.links.units import UnitError, format_duration, parse_duration
from node.protocol.time import SECOND, Duration

#: tc before 6.x counts delays in 32-bit ticks of 64 ns, which end at 274 s.
MAX_DELAY: Duration = 240 * SECOND


@IMPAIRMENTS.register("delay")
@dataclass(frozen=True, slots=True)
class Delay:
    """Every packet is held back for ``delay`` ns."""

    name: ClassVar[str] = "delay"
    stage: ClassVar[Stage] = Stage.DELAY
    description: ClassVar[str] = "One-way delay of every packet."
    example: ClassVar[str] = "20ms"

    delay: Duration = 0

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``20ms``."""
        delay = parse_duration(value)
        if delay > MAX_DELAY:
            raise UnitError(f"{value!r} is longer than {format_duration(MAX_DELAY)}; write a shorter delay")
        return cls(delay)

    def format(self) -> str:
        """Write ``20ms``."""
        return format_duration(self.delay)

    def netem_arguments(self) -> tuple[str, ...]:
        """Return ``delay 20ms``; jitter's word follows."""
        return ("delay", netem_time(self.delay))

    def decide(self, packet: PacketFate, rng: Random) -> None:
        """Add the delay."""
        packet.delay_ns += self.delay
