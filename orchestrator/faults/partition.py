"""Partitions: no link between the groups carries anything."""

from __future__ import annotations

from typing import Any, ClassVar

from node.links.settings import Impairments
from orchestrator.faults.base import FAULTS, FaultError, LinkFault, View, lost
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.quantities import Names


@FAULTS.register("partition")
class Partition(LinkFault):
    """Cuts all links between groups of nodes; nodes that no group names are one more group."""

    name: ClassVar[str] = "partition"
    summary: ClassVar[str] = "Cut all links between groups of nodes; nodes not named are one more group."
    example: ClassVar[str] = "[[a], [b]]"
    shape: ClassVar[Any] = list[Names]

    def __init__(self, value: Any, view: View) -> None:
        group_of: dict[str, int] = {}
        for group, names in enumerate(value):
            for index, name in enumerate(names):
                if view.node(name, path=(group, index)) in group_of:
                    raise FaultError(f"{name!r} is in two groups", "name it once", path=(group, index))
                group_of[name] = group
        rest = len(value)
        self._groups = value
        crossing = [
            ends
            for ends in view.links
            if group_of.get(ends[0].node, rest) != group_of.get(ends[1].node, rest)
        ]
        self.endpoints = tuple(end for ends in crossing for end in ends)
        if not self.endpoints:
            raise FaultError("no link runs between these groups", "name the nodes that are to be separated")

    @classmethod
    def value_of(cls, words: list[str]) -> object:
        """Return groups, written ``a,b c``."""
        return [word.split(",") for word in words]

    def transform(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        """Lose everything."""
        return lost(impairments)

    def __str__(self) -> str:
        """Return the groups."""
        return " | ".join(", ".join(names) for names in self._groups)
