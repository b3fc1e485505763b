"""Flows that end on the timeline."""

from __future__ import annotations

from typing import Any, ClassVar

from orchestrator.faults.base import FAULTS, Fault, FaultLab, View
from orchestrator.topology.quantities import Names


@FAULTS.register("stop")
class Stop(Fault):
    """Ends flows; one that is ended so has not failed."""

    name: ClassVar[str] = "stop"
    summary: ClassVar[str] = "End flows before their end; that is no failure of theirs."
    example: ClassVar[str] = "film"
    shape: ClassVar[Any] = Names

    def __init__(self, value: Any, view: View) -> None:
        self.flows = tuple(view.flow(name, path=(index,)) for index, name in enumerate(value))

    def lane(self) -> str:
        """Return the flows' lane."""
        return "flows"

    async def begin(self, lab: FaultLab) -> str:
        """End them."""
        for flow in self.flows:
            await lab.flows.stop_flow(flow)
        return ""

    def __str__(self) -> str:
        """Return the flows."""
        return ", ".join(self.flows)
