"""Gilbert–Elliott loss by its four parameters, as netem takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Decide, Modifiers, Quiet, Stage, Words
from node.links.impairments.loss_models import gilbert_elliott, losing
from node.links.units import format_ratio, parse_ratios


@IMPAIRMENTS.register("gemodel")
@dataclass(frozen=True, slots=True)
class GeModel(Quiet):
    """A good and a bad state: p leads into the bad one, r out of it, 1-h and 1-k are lost in bad and good."""

    name: ClassVar[str] = "gemodel"
    stage: ClassVar[Stage] = Stage.GEMODEL
    description: ClassVar[str] = "Gilbert-Elliott loss, as netem's p r 1-h 1-k; instead of loss and burst."
    example: ClassVar[str] = "1% 30% 100% 0%"

    ratios: tuple[float, ...] = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``1% 30% 100% 0%``; without the last two these are 100% and 0% (Gilbert's model)."""
        ratios = parse_ratios(value, least=2, most=4, example="1% 30% 100% 0%")
        return cls((*ratios, *(1.0, 0.0)[len(ratios) - 2 :]))

    def format(self) -> str:
        """Write ``1% 30% 100% 0%``."""
        return " ".join(map(format_ratio, self.ratios))

    def modify(self, modifiers: Modifiers) -> None:
        """Tell loss that its place is taken."""
        modifiers.loss_model = modifiers.loss_model or bool(self.ratios)

    def netem_arguments(self, modifiers: Modifiers) -> Words:
        """Return ``loss gemodel 1% 30% 100% 0%``."""
        return ("loss", "gemodel", *map(format_ratio, self.ratios)) if self.ratios else ()

    def decider(self, modifiers: Modifiers) -> Decide | None:
        """Walk the chain, and drop or mark."""
        return losing(gilbert_elliott(*self.ratios), ecn=modifiers.ecn) if self.ratios else None
