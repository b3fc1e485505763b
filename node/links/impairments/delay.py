"""Constant delay: propagation."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Decide, Modifiers, PacketFate, Quiet, Stage, Words
from node.links.impairments.netem_time import netem_time
from node.links.units import UnitError, format_duration, format_ratio, parse_duration
from node.protocol.time import SECOND, Duration

#: tc before 6.x counts delays in 32-bit ticks of 64 ns, which end at 274 s.
MAX_DELAY: Duration = 240 * SECOND


@IMPAIRMENTS.register("delay")
@dataclass(frozen=True, slots=True)
class Delay(Quiet):
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

    def netem_arguments(self, modifiers: Modifiers) -> Words:
        """Return ``delay 20ms 2ms 0%``, and jitter's distribution if it is not uniform."""
        times = (netem_time(self.delay), netem_time(modifiers.jitter))
        table = () if modifiers.distribution == "uniform" else ("distribution", modifiers.distribution)
        return ("delay", *times, format_ratio(modifiers.delay_correlation), *table)

    def decider(self, modifiers: Modifiers) -> Decide | None:
        """Add the delay."""
        delay = self.delay

        def decide(packet: PacketFate, rng: Random) -> None:
            packet.delay_ns += delay

        return decide if delay else None
