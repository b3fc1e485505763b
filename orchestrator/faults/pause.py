"""Nodes that stand still."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.faults.base import FAULTS, DownFault, FaultLab, Need


@FAULTS.register("pause")
class Pause(DownFault):
    """Lets nodes get no CPU: packets wait in their sockets until these are full, timers run late."""

    name: ClassVar[str] = "pause"
    summary: ClassVar[str] = "Let nodes get no CPU; what arrives waits in their sockets."

    def needs(self, *, ends: bool) -> frozenset[Need]:
        """Return what back ends need to stop a node."""
        return frozenset({Need.NODE_STATES})

    async def begin(self, lab: FaultLab) -> str:
        """Stop them."""
        for node in self.nodes:
            await lab.pause(node)
        return ""
