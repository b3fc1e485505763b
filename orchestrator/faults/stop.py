"""Flows that end on the timeline."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.faults.base import FAULTS, FaultLab, FlowsFault


@FAULTS.register("stop")
class Stop(FlowsFault):
    """Ends flows; one that is ended so has not failed."""

    name: ClassVar[str] = "stop"
    summary: ClassVar[str] = "End flows before their end; that is no failure of theirs."

    async def begin(self, lab: FaultLab) -> str:
        """End them."""
        for flow in self.flows:
            await lab.flows.stop_flow(flow)
        return ""
