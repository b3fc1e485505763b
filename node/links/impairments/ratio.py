"""What loss, duplicate, corrupt, reorder and the correlations share. Not itself an impairment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from node.links.impairments.base import Quiet
from node.links.units import format_ratio, parse_ratio


@dataclass(frozen=True, slots=True)
class Ratio(Quiet):
    """A probability."""

    ratio: float = 0.0

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``1%``."""
        return cls(parse_ratio(value))

    def format(self) -> str:
        """Write ``1%``."""
        return format_ratio(self.ratio)
