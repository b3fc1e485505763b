"""NAT routers that forget."""

from __future__ import annotations

from typing import Any, ClassVar

from orchestrator.faults.base import FAULTS, Fault, FaultLab, Need, View
from orchestrator.topology.quantities import Names


@FAULTS.register("nat-flush")
class NatFlush(Fault):
    """Lets NAT routers forget all mappings, as a reboot does."""

    name: ClassVar[str] = "nat-flush"
    summary: ClassVar[str] = "Let NAT routers forget all mappings, as a reboot does."
    example: ClassVar[str] = "n"
    shape: ClassVar[Any] = Names

    def __init__(self, value: Any, view: View) -> None:
        self._nodes = tuple(view.nat(name, path=(index,)) for index, name in enumerate(value))

    def needs_up(self) -> tuple[str, ...]:
        """Return the routers."""
        return self._nodes

    def needs(self, *, ends: bool) -> frozenset[Need]:
        """Return that there must be NAT routers."""
        return frozenset({Need.NAT})

    def lane(self) -> str:
        """Return the routers' lane."""
        return f"node {self._nodes[0]}"

    async def begin(self, lab: FaultLab) -> str:
        """Forget."""
        return "; ".join([await lab.control_nat(node, flush=True) for node in self._nodes])

    def __str__(self) -> str:
        """Return the routers."""
        return ", ".join(self._nodes)
