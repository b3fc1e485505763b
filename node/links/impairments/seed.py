"""Seed: the chance of one direction, apart from the lab's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from node.links.impairments.base import IMPAIRMENTS, Modifiers, Quiet, Stage, Words
from node.links.units import UnitError, parse_whole

MAX_SEED = 2**63 - 1


@IMPAIRMENTS.register("seed")
@dataclass(frozen=True, slots=True)
class Seed(Quiet):
    """Chance begins anew with ``number`` when the set is made; None: it follows from the lab's seed."""

    name: ClassVar[str] = "seed"
    stage: ClassVar[Stage] = Stage.SEED
    description: ClassVar[str] = (
        "Seed of this direction's chance; by default it follows from the lab's seed, in the kernel from none."
    )
    example: ClassVar[str] = "42"
    json_type: ClassVar[str] = "integer"

    number: int | None = None

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``42``."""
        number = parse_whole(value, "a seed", "42")
        if number > MAX_SEED:
            raise UnitError(f"{value!r} is too large for a seed; write a number up to {MAX_SEED}")
        return cls(number)

    def format(self) -> str:
        """Write ``42``."""
        return str(self.number)

    def netem_arguments(self, modifiers: Modifiers) -> Words:
        """Return ``seed 42``; a change without it takes a new one by itself."""
        return () if self.number is None else ("seed", str(self.number))
