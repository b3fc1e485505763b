"""Flows that start on the timeline."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.faults.base import FAULTS, FaultLab, FlowsFault


@FAULTS.register("start")
class Start(FlowsFault):
    """Starts flows, which then do not start by themselves."""

    name: ClassVar[str] = "start"
    summary: ClassVar[str] = "Start flows; they then do not start by themselves."

    async def begin(self, lab: FaultLab) -> str:
        """Start them."""
        for flow in self.flows:
            await lab.flows.start_flow(flow)
        return ""
