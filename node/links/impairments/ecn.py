"""ECN: the link marks packets that it would else drop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Modifiers, Quiet, Stage
from node.links.units import UnitError


@IMPAIRMENTS.register("ecn")
@dataclass(frozen=True, slots=True)
class Ecn(Quiet):
    """ECN-capable packets (ECT or CE) are marked instead of lost, and the bottleneck marks in time."""

    name: ClassVar[str] = "ecn"
    stage: ClassVar[Stage] = Stage.ECN
    description: ClassVar[str] = (
        "Mark ECN-capable packets instead of losing them, and at the bottleneck before its queue is full."
    )
    example: ClassVar[str] = "true"
    json_type: ClassVar[str] = "boolean"

    marks: bool = False

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``true``."""
        for marks, word in ((True, "true"), (False, "false")):
            if value is marks or value == word:
                return cls(marks)
        raise UnitError(f"{value!r} does not say whether to mark; write true or false")

    def format(self) -> str:
        """Write ``true``."""
        return "true" if self.marks else "false"

    def modify(self, modifiers: Modifiers) -> None:
        """Tell the losses."""
        modifiers.ecn = self.marks
