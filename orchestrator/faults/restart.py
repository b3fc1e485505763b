"""Nodes that come back."""

from __future__ import annotations

from typing import Any, ClassVar

from orchestrator.faults.base import FAULTS, Fault, FaultLab, Need, View
from orchestrator.topology.quantities import Names


@FAULTS.register("restart")
class Restart(Fault):
    """Starts crashed nodes anew, and lets paused ones go on."""

    name: ClassVar[str] = "restart"
    summary: ClassVar[str] = "Start crashed nodes anew, and let paused ones go on."
    example: ClassVar[str] = "b"
    shape: ClassVar[Any] = Names

    def __init__(self, value: Any, view: View) -> None:
        self._nodes = tuple(view.node(name, path=(index,)) for index, name in enumerate(value))

    def ends(self, claim: str) -> bool:
        """Return whether one of these nodes is crashed or paused."""
        return claim in {f"node {name}" for name in self._nodes}

    def expects(self) -> tuple[str, str] | None:
        """Return that a node must not run."""
        return "", f"{self} runs then: there is nothing to restart"

    def needs(self, *, ends: bool) -> frozenset[Need]:
        """Return that nodes must be able to come back."""
        return frozenset({Need.NODE_STATES, Need.NODES_RETURN})

    def lane(self) -> str:
        """Return the nodes' lane."""
        return f"node {self._nodes[0]}"

    async def begin(self, lab: FaultLab) -> str:
        """Let them run."""
        for node in self._nodes:
            await lab.run(node)
        return ""

    def __str__(self) -> str:
        """Return the nodes."""
        return ", ".join(self._nodes)
