"""Sockets that come from elsewhere all of a sudden, without telling: as behind a NAT that forgot."""

from __future__ import annotations

from typing import Any, ClassVar

from orchestrator.faults.base import FAULTS, Fault, FaultError, FaultLab, View, order
from orchestrator.topology.quantities import NameText


@FAULTS.register("rebind")
class Rebind(Fault):
    """Changes port, address or both of a node's socket. Its connections are not told."""

    name: ClassVar[str] = "rebind"
    summary: ClassVar[str] = "Change port, address or both of a node's socket; its connections are not told."
    example: ClassVar[str] = "{node: a, port: true}"
    shape: ClassVar[Any] = {"node": NameText, "port": bool | None, "address": bool | None}

    def __init__(self, value: Any, view: View) -> None:
        self.node = view.host(value["node"], path=("node",))
        self.address = bool(value.get("address"))
        self._port = bool(value.get("port", not self.address))
        if not self._port and not self.address:
            raise FaultError("neither port nor address changes", "write port: true or address: true")

    def needs_up(self) -> tuple[str, ...]:
        """Return the node."""
        return (self.node,)

    def lane(self) -> str:
        """Return the node's lane."""
        return f"node {self.node}"

    async def begin(self, lab: FaultLab) -> str:
        """Change it; what is on its way to the old one is lost."""
        host = {"host": lab.next_address(self.node)} if self.address else {}
        data = await order(lab, self.node, "rebind", new_port=self._port, **host)
        return f"now {_shown(data.get('listen'))}"

    def __str__(self) -> str:
        """Return the node and what changes."""
        what = [word for word, changes in (("port", self._port), ("address", self.address)) if changes]
        return f"{self.node} ({' and '.join(what)})"


def _shown(listen: object) -> str:
    return f"{listen[0]}:{listen[1]}" if isinstance(listen, list | tuple) else "?"
