"""NAT routers that forget."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.faults.base import FAULTS, FaultLab, Need, NodesFault, View


@FAULTS.register("nat-flush")
class NatFlush(NodesFault):
    """Lets NAT routers forget all mappings, as a reboot does."""

    name: ClassVar[str] = "nat-flush"
    summary: ClassVar[str] = "Let NAT routers forget all mappings, as a reboot does."
    example: ClassVar[str] = "n"

    def find(self, view: View, name: str, path: tuple[int]) -> str:
        """Return ``name`` if it is a NAT router's (FaultError: it is not)."""
        return view.nat(name, path=path)

    def needs_up(self) -> tuple[str, ...]:
        """Return the routers."""
        return self.nodes

    def needs(self, *, ends: bool) -> frozenset[Need]:
        """Return that there must be NAT routers."""
        return frozenset({Need.NAT})

    async def begin(self, lab: FaultLab) -> str:
        """Forget."""
        return "; ".join([await lab.control_nat(node, flush=True) for node in self.nodes])
