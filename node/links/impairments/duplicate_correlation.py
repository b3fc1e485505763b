"""Correlation of duplicate's draws, as netem's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from node.links.impairments.base import IMPAIRMENTS, Modifiers, Stage
from node.links.impairments.ratio import Ratio


@IMPAIRMENTS.register("duplicate-correlation")
@dataclass(frozen=True, slots=True)
class DuplicateCorrelation(Ratio):
    """How much each draw of duplicate takes from the draw before it (`chance` says what comes of it)."""

    name: ClassVar[str] = "duplicate-correlation"
    stage: ClassVar[Stage] = Stage.DUPLICATE_CORRELATION
    description: ClassVar[str] = (
        "How much each draw of duplicate takes from the draw before, as netem does it; needs duplicate. "
        "Changes the share, too."
    )
    example: ClassVar[str] = "25%"

    def modify(self, modifiers: Modifiers) -> None:
        """Tell duplicate."""
        modifiers.duplicate_correlation = self.ratio
