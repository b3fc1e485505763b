"""Correlation of reorder's draws, as netem's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from node.links.impairments.base import IMPAIRMENTS, Modifiers, Stage
from node.links.impairments.ratio import Ratio


@IMPAIRMENTS.register("reorder-correlation")
@dataclass(frozen=True, slots=True)
class ReorderCorrelation(Ratio):
    """How much each draw of reorder takes from the draw before it (`chance` says what comes of it)."""

    name: ClassVar[str] = "reorder-correlation"
    stage: ClassVar[Stage] = Stage.REORDER_CORRELATION
    description: ClassVar[str] = (
        "How much each draw of reorder takes from the draw before, as netem does it; needs reorder. "
        "Changes the share, too."
    )
    example: ClassVar[str] = "25%"

    def modify(self, modifiers: Modifiers) -> None:
        """Tell reorder."""
        modifiers.reorder_correlation = self.ratio
