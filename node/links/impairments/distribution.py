"""Distribution: by which of netem's tables jitter is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Modifiers, Quiet, Stage
from node.links.impairments.chance import DISTRIBUTIONS
from node.links.units import parse_choice


@IMPAIRMENTS.register("distribution")
@dataclass(frozen=True, slots=True)
class Distribution(Quiet):
    """Jitter is drawn by the distribution ``kind``; all but uniform take jitter as standard deviation."""

    name: ClassVar[str] = "distribution"
    stage: ClassVar[Stage] = Stage.DISTRIBUTION
    description: ClassVar[str] = (
        "Distribution of jitter: uniform, normal, pareto or paretonormal; for all but uniform, jitter is "
        "about the standard deviation."
    )
    example: ClassVar[str] = "normal"

    kind: str = "uniform"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``normal``."""
        return cls(parse_choice(value, "a distribution", DISTRIBUTIONS))

    def format(self) -> str:
        """Write ``normal``."""
        return self.kind

    def modify(self, modifiers: Modifiers) -> None:
        """Tell jitter."""
        modifiers.distribution = self.kind
