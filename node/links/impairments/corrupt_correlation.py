"""Correlation of corrupt's draws, as netem's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from node.links.impairments.base import IMPAIRMENTS, Modifiers, Stage
from node.links.impairments.ratio import Ratio


@IMPAIRMENTS.register("corrupt-correlation")
@dataclass(frozen=True, slots=True)
class CorruptCorrelation(Ratio):
    """How much each draw of corrupt takes from the draw before it (`chance` says what comes of it)."""

    name: ClassVar[str] = "corrupt-correlation"
    stage: ClassVar[Stage] = Stage.CORRUPT_CORRELATION
    description: ClassVar[str] = (
        "How much each draw of corrupt takes from the draw before, as netem does it; needs corrupt. "
        "Changes the share, too."
    )
    example: ClassVar[str] = "25%"

    def modify(self, modifiers: Modifiers) -> None:
        """Tell corrupt."""
        modifiers.corrupt_correlation = self.ratio
