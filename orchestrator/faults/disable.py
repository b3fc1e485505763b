"""Impairments switched off for a while."""

from __future__ import annotations

from typing import Any, ClassVar

from node.links.impairments.base import IMPAIRMENTS
from node.links.settings import NONE, Impairments, ImpairmentsError
from orchestrator.faults.base import FAULTS, FaultError, LinkFault, View
from orchestrator.topology.errors import suggestion
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.quantities import Names


@FAULTS.register("disable")
class Disable(LinkFault):
    """Switches impairments of links off without losing their settings."""

    name: ClassVar[str] = "disable"
    summary: ClassVar[str] = "Switch impairments of links off (all, or those named), and keep their settings."
    example: ClassVar[str] = '{link: "b:eth1", netem: [loss]}'
    shape: ClassVar[Any] = {"link": Names, "netem": Names | None}

    def __init__(self, value: Any, view: View) -> None:
        self.endpoints = view.directions(value["link"], path=("link",))
        self._names = tuple(value.get("netem") or IMPAIRMENTS.names())
        self._all = not value.get("netem")
        for index, name in enumerate(self._names):
            if name not in IMPAIRMENTS:
                advice = suggestion(name, IMPAIRMENTS.names())
                raise FaultError(f"no impairment is called {name!r}", *advice, path=("netem", index))

    def transform(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        """Take out what is named, and what makes no sense without it (a queue without its rate)."""
        names = list(self._names)
        while True:
            try:
                return NONE if self._all else impairments.replace(dict.fromkeys(names))
            except ImpairmentsError as error:
                more = [name for name in error.problems if name not in names]
                if not more:
                    raise
                names += more

    def __str__(self) -> str:
        """Return the ends and what is off there."""
        return f"{super().__str__()}: {'all' if self._all else ', '.join(self._names)}"
