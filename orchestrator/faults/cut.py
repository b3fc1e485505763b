"""Links that lose everything, both ways."""

from __future__ import annotations

from typing import Any, ClassVar

from node.links.settings import Impairments
from orchestrator.faults.base import FAULTS, LinkFault, View, lost
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.quantities import Names


@FAULTS.register("cut")
class Cut(LinkFault):
    """Loses all packets of the named links."""

    name: ClassVar[str] = "cut"
    summary: ClassVar[str] = "Lose all packets of links, both ways; their impairments are kept."
    example: ClassVar[str] = '["b:eth1"]'
    shape: ClassVar[Any] = Names

    def __init__(self, value: Any, view: View) -> None:
        self.endpoints = view.directions(value)

    def transform(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        """Lose everything."""
        return lost(impairments)
