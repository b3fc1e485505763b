"""Correlation of delay's draws, as netem's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from node.links.impairments.base import IMPAIRMENTS, Modifiers, Stage
from node.links.impairments.ratio import Ratio


@IMPAIRMENTS.register("delay-correlation")
@dataclass(frozen=True, slots=True)
class DelayCorrelation(Ratio):
    """How much each draw of delay takes from the draw before it (`chance` says what comes of it)."""

    name: ClassVar[str] = "delay-correlation"
    stage: ClassVar[Stage] = Stage.DELAY_CORRELATION
    description: ClassVar[str] = (
        "How much each draw of delay takes from the draw before, as netem does it; needs a jitter."
    )
    example: ClassVar[str] = "25%"

    def modify(self, modifiers: Modifiers) -> None:
        """Tell delay."""
        modifiers.delay_correlation = self.ratio
