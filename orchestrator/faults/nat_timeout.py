"""NAT routers that forget sooner, or later."""

from __future__ import annotations

from typing import Any, ClassVar

from node.links.units import format_duration
from orchestrator.faults.base import FAULTS, Fault, FaultLab, Lasting, Need, View
from orchestrator.topology.quantities import NameText, PositiveDuration


@FAULTS.register("nat-timeout")
class NatTimeout(Fault):
    """Changes how long a NAT router keeps a mapping that carries nothing."""

    name: ClassVar[str] = "nat-timeout"
    summary: ClassVar[str] = "Change how long a NAT router keeps a mapping that carries nothing."
    example: ClassVar[str] = "{node: n, timeout: 2s}"
    shape: ClassVar[Any] = {"node": NameText, "timeout": PositiveDuration}
    lasting: ClassVar[Lasting] = Lasting.MAY

    def __init__(self, value: Any, view: View) -> None:
        self._node = view.nat(value["node"], path=("node",))
        self._timeout = int(value["timeout"])

    def claims(self) -> tuple[str, ...]:
        """Return the router's time-out."""
        return (f"nat-timeout {self._node}",)

    def needs_up(self) -> tuple[str, ...]:
        """Return the router."""
        return (self._node,)

    def needs(self, *, ends: bool) -> frozenset[Need]:
        """Return that there must be NAT routers."""
        return frozenset({Need.NAT})

    def lane(self) -> str:
        """Return the router's lane."""
        return f"node {self._node}"

    async def begin(self, lab: FaultLab) -> str:
        """Change it."""
        return await lab.control_nat(self._node, keep_for=self._timeout)

    async def end(self, lab: FaultLab) -> str:
        """Set it to what the topology says."""
        return await lab.control_nat(self._node, keep_for=lab.nat_timeout(self._node))

    def __str__(self) -> str:
        """Return the router and its new time-out."""
        return f"{self._node}: {format_duration(self._timeout)}"
