"""Connections that move on purpose to another local address."""

from __future__ import annotations

from typing import Any, ClassVar

from orchestrator.faults.base import FAULTS, Fault, FaultLab, View, order
from orchestrator.topology.quantities import NameText


@FAULTS.register("migrate")
class Migrate(Fault):
    """Changes a node's socket and has all its connections go on from there (SPEC 13.3)."""

    name: ClassVar[str] = "migrate"
    summary: ClassVar[str] = "Give a node's socket another port, or address, and move its connections there."
    example: ClassVar[str] = "{node: a}"
    shape: ClassVar[Any] = {"node": NameText, "address": bool | None}

    def __init__(self, value: Any, view: View) -> None:
        self.node = view.host(value["node"], path=("node",))
        self.address = bool(value.get("address"))

    def needs_up(self) -> tuple[str, ...]:
        """Return the node."""
        return (self.node,)

    def lane(self) -> str:
        """Return the node's lane."""
        return f"node {self.node}"

    async def begin(self, lab: FaultLab) -> str:
        """Move."""
        host = {"host": lab.next_address(self.node)} if self.address else {}
        data = await order(lab, self.node, "rebind", new_port=True, migrate=True, **host)
        listen = data.get("listen")
        place = f"{listen[0]}:{listen[1]}" if isinstance(listen, list | tuple) else "?"
        return f"{data.get('moved', 0)} connections now at {place}"

    def __str__(self) -> str:
        """Return the node."""
        return f"{self.node} ({'address' if self.address else 'port'})"
