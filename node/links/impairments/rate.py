"""Rate: the bottleneck's speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Quiet, Stage
from node.links.units import UnitError, format_rate, parse_rate

#: Below this one full packet takes more than twelve seconds.
MIN_RATE_BPS = 1_000


@IMPAIRMENTS.register("rate")
@dataclass(frozen=True, slots=True)
class Rate(Quiet):
    """Packets are serialised at ``rate_bps`` bit/s; 0: as fast as the machine can."""

    name: ClassVar[str] = "rate"
    stage: ClassVar[Stage] = Stage.RATE
    description: ClassVar[str] = "Speed of the link, counted over Ethernet frames without FCS."
    example: ClassVar[str] = "10Mbit"

    rate_bps: int = 0

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``10Mbit``."""
        rate = parse_rate(value)
        if rate < MIN_RATE_BPS:
            raise UnitError(
                f"{value!r} is below 1kbit; write a higher rate, or loss: 100% for a link that is cut"
            )
        return cls(rate)

    def format(self) -> str:
        """Write ``10Mbit``."""
        return format_rate(self.rate_bps)
