"""The end of cuts."""

from __future__ import annotations

from typing import Any, ClassVar

from orchestrator.faults.base import FAULTS, Fault, FaultLab, View
from orchestrator.topology.quantities import Names

#: What it ends.
CUTS = frozenset({"cut", "one-way-cut", "partition", "flap"})


@FAULTS.register("heal")
class Heal(Fault):
    """Ends cuts, one-way cuts, partitions and flaps of the named links."""

    name: ClassVar[str] = "heal"
    summary: ClassVar[str] = "End cuts, one-way cuts, partitions and flaps of links."
    example: ClassVar[str] = '["b:eth1"]'
    shape: ClassVar[Any] = Names

    def __init__(self, value: Any, view: View) -> None:
        self.endpoints = view.directions(value)
        self._claims = {f"{name} {end}" for name in CUTS for end in self.endpoints}
        self._words = ", ".join(value)

    def ends(self, claim: str) -> bool:
        """Return whether it is a cut of one of these links."""
        return claim in self._claims

    def expects(self) -> tuple[str, str] | None:
        """Return that something must be cut."""
        return "", f"nothing is cut at {self._words}"

    def lane(self) -> str:
        """Return the one lane of all links."""
        return "links"

    async def begin(self, lab: FaultLab) -> str:
        """Take all cuts off; what lies below them holds again."""
        await lab.links.lift(CUTS, self.endpoints)
        return ""

    def __str__(self) -> str:
        """Return the links as they were named."""
        return self._words
