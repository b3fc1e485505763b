"""Loss by netem's Markov chain of four states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Decide, Modifiers, Quiet, Stage, Words
from node.links.impairments.loss_models import four_states, losing
from node.links.units import UnitError, format_ratio, parse_ratios


@IMPAIRMENTS.register("loss-state")
@dataclass(frozen=True, slots=True)
class LossState(Quiet):
    """Bursts and gaps, with losses in both; the probabilities are p13 p31 p32 p23 p14."""

    name: ClassVar[str] = "loss-state"
    stage: ClassVar[Stage] = Stage.LOSS_STATE
    description: ClassVar[str] = "Loss by netem's four states, as p13 p31 p32 p23 p14; instead of loss."
    example: ClassVar[str] = "1% 30% 10% 20% 0.1%"

    ratios: tuple[float, ...] = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``1% 30% 10% 20% 0.1%``."""
        ratios = parse_ratios(value, least=5, most=5, example=cls.example)
        p13, p31, p32, _, p14 = ratios
        for names, total in (("p13 + p14", p13 + p14), ("p31 + p32", p31 + p32)):
            if total > 1:
                raise UnitError(f"{value!r}: {names} is more than 100%; one state has no other ways out")
        return cls(ratios)

    def format(self) -> str:
        """Write ``1% 30% 10% 20% 0.1%``."""
        return " ".join(map(format_ratio, self.ratios))

    def modify(self, modifiers: Modifiers) -> None:
        """Tell loss that its place is taken."""
        modifiers.loss_model = modifiers.loss_model or bool(self.ratios)

    def netem_arguments(self, modifiers: Modifiers) -> Words:
        """Return ``loss state p13 p31 p32 p23 p14``."""
        return ("loss", "state", *map(format_ratio, self.ratios)) if self.ratios else ()

    def decider(self, modifiers: Modifiers) -> Decide | None:
        """Walk the chain, and drop or mark."""
        return losing(four_states(*self.ratios), ecn=modifiers.ecn) if self.ratios else None
