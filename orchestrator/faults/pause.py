"""Nodes that stand still."""

from __future__ import annotations

from typing import Any, ClassVar

from orchestrator.faults.base import FAULTS, Fault, FaultLab, Lasting, Need, View
from orchestrator.topology.quantities import Names


@FAULTS.register("pause")
class Pause(Fault):
    """Lets nodes get no CPU: packets wait in their sockets until these are full, timers run late."""

    name: ClassVar[str] = "pause"
    summary: ClassVar[str] = "Let nodes get no CPU; what arrives waits in their sockets."
    example: ClassVar[str] = "b"
    shape: ClassVar[Any] = Names
    lasting: ClassVar[Lasting] = Lasting.MAY

    def __init__(self, value: Any, view: View) -> None:
        self._nodes = tuple(view.node(name, path=(index,)) for index, name in enumerate(value))

    def claims(self) -> tuple[str, ...]:
        """Return the nodes, which are not there for other actions while it lasts."""
        return tuple(f"node {name}" for name in self._nodes)

    def needs_up(self) -> tuple[str, ...]:
        """Return the nodes."""
        return self._nodes

    def needs(self, *, ends: bool) -> frozenset[Need]:
        """Return what back ends need to stop a node."""
        return frozenset({Need.NODE_STATES})

    def lane(self) -> str:
        """Return the nodes' lane."""
        return f"node {self._nodes[0]}"

    async def begin(self, lab: FaultLab) -> str:
        """Stop them."""
        for node in self._nodes:
            await lab.pause(node)
        return ""

    async def end(self, lab: FaultLab) -> str:
        """Let them go on."""
        for node in self._nodes:
            await lab.run(node)
        return ""

    def __str__(self) -> str:
        """Return the nodes."""
        return ", ".join(self._nodes)
