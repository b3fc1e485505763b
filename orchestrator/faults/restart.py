"""Nodes that come back."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.faults.base import FAULTS, FaultLab, Need, NodesFault


@FAULTS.register("restart")
class Restart(NodesFault):
    """Starts crashed nodes anew, and lets paused ones go on."""

    name: ClassVar[str] = "restart"
    summary: ClassVar[str] = "Start crashed nodes anew, and let paused ones go on."

    def ends(self, claim: str) -> bool:
        """Return whether one of these nodes is crashed or paused."""
        return claim in self.held

    def expects(self) -> tuple[str, str] | None:
        """Return that a node must not run."""
        return "", f"{self} runs then: there is nothing to restart"

    def needs(self, *, ends: bool) -> frozenset[Need]:
        """Return that nodes must be able to come back."""
        return frozenset({Need.NODE_STATES, Need.NODES_RETURN})

    async def begin(self, lab: FaultLab) -> str:
        """Let them run."""
        for node in self.nodes:
            await lab.run(node)
        return ""
