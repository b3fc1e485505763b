"""Flows that start on the timeline."""

from __future__ import annotations

from typing import Any, ClassVar

from orchestrator.faults.base import FAULTS, Fault, FaultLab, View
from orchestrator.topology.quantities import Names


@FAULTS.register("start")
class Start(Fault):
    """Starts flows, which then do not start by themselves."""

    name: ClassVar[str] = "start"
    summary: ClassVar[str] = "Start flows; they then do not start by themselves."
    example: ClassVar[str] = "film"
    shape: ClassVar[Any] = Names

    def __init__(self, value: Any, view: View) -> None:
        self.flows = tuple(view.flow(name, path=(index,)) for index, name in enumerate(value))

    def lane(self) -> str:
        """Return the flows' lane."""
        return "flows"

    async def begin(self, lab: FaultLab) -> str:
        """Start them."""
        for flow in self.flows:
            await lab.flows.start_flow(flow)
        return ""

    def __str__(self) -> str:
        """Return the flows."""
        return ", ".join(self.flows)
