"""Nodes that crash."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.faults.base import FAULTS, DownFault, FaultLab, Need


@FAULTS.register("crash")
class Crash(DownFault):
    """Ends the agents of nodes at once, as a power cut does; routers forward no more.

    When it ends they start anew, and remember nothing.
    """

    name: ClassVar[str] = "crash"
    summary: ClassVar[str] = "End nodes at once, as a power cut does; after for: they start anew."

    def needs(self, *, ends: bool) -> frozenset[Need]:
        """Return what back ends need to kill a node, and to bring it back."""
        return frozenset({Need.NODE_STATES, Need.NODES_RETURN} if ends else {Need.NODE_STATES})

    async def begin(self, lab: FaultLab) -> str:
        """Kill them."""
        for node in self.nodes:
            await lab.crash(node)
        return ""
