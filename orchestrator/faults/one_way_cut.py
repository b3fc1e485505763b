"""Black holes: links that lose everything in one direction."""

from __future__ import annotations

from typing import Any, ClassVar

from node.links.settings import Impairments
from orchestrator.faults.base import FAULTS, LinkFault, View, lost
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.quantities import Names


@FAULTS.register("one-way-cut")
class OneWayCut(LinkFault):
    """Loses what leaves the named ends."""

    name: ClassVar[str] = "one-way-cut"
    summary: ClassVar[str] = "Lose what leaves the named ends of links; the other way goes on."
    example: ClassVar[str] = '["b:eth1"]'
    shape: ClassVar[Any] = Names

    def __init__(self, value: Any, view: View) -> None:
        found = (view.endpoint(text, path=(index,)) for index, text in enumerate(value))
        self.endpoints = tuple(dict.fromkeys(found))

    def transform(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        """Lose everything."""
        return lost(impairments)
