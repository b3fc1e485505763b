"""AQM: active queue management at the bottleneck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Quiet, Stage
from node.links.units import parse_choice

#: RFC 8290, RFC 8289, Floyd and Jacobson 1993, RFC 8033; as the kernel's qdiscs of these names.
KINDS = ("fq_codel", "codel", "red", "pie")


@IMPAIRMENTS.register("aqm")
@dataclass(frozen=True, slots=True)
class Aqm(Quiet):
    """The queue of the bottleneck is managed by ``kind``; empty: it drops at its tail."""

    name: ClassVar[str] = "aqm"
    stage: ClassVar[Stage] = Stage.AQM
    description: ClassVar[str] = (
        "Queue management at the bottleneck: fq_codel, codel, red or pie; needs a rate. Marks with ecn."
    )
    example: ClassVar[str] = "codel"

    kind: str = ""

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``codel``."""
        return cls(parse_choice(value, "an AQM", KINDS))

    def format(self) -> str:
        """Write ``codel``."""
        return self.kind
