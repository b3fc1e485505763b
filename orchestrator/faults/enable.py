"""Impairments switched on again."""

from __future__ import annotations

from typing import Any, ClassVar

from orchestrator.faults.base import FAULTS, Fault, FaultLab, View
from orchestrator.topology.quantities import Names

_DISABLE = frozenset({"disable"})


@FAULTS.register("enable")
class Enable(Fault):
    """Ends ``disable`` at the named links."""

    name: ClassVar[str] = "enable"
    summary: ClassVar[str] = "Switch disabled impairments of links on again."
    example: ClassVar[str] = '["b:eth1"]'
    shape: ClassVar[Any] = Names

    def __init__(self, value: Any, view: View) -> None:
        self.endpoints = view.directions(value)
        self._claims = {f"disable {end}" for end in self.endpoints}
        self._words = ", ".join(value)

    def ends(self, claim: str) -> bool:
        """Return whether something is disabled at one of these links."""
        return claim in self._claims

    def expects(self) -> tuple[str, str] | None:
        """Return that something must be disabled."""
        return "", f"nothing is disabled at {self._words}"

    def lane(self) -> str:
        """Return the one lane of all links."""
        return "links"

    async def begin(self, lab: FaultLab) -> str:
        """Let the settings hold again."""
        await lab.links.lift(_DISABLE, self.endpoints)
        return ""

    def __str__(self) -> str:
        """Return the links as they were named."""
        return self._words
