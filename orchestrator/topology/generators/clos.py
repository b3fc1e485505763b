"""Leaves and spines, each leaf joined to each spine: the fabric of a data centre."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import ClassVar

from orchestrator.topology.generators.base import HOST, Draft, Generator, Role, Size, register


@register
class Clos(Generator):
    """``spines`` × ``leaves`` links, and ``hosts`` hosts on each leaf."""

    name: ClassVar[str] = "clos"
    description: ClassVar[str] = (
        "Leaves and spines, each leaf joined to each spine, with hosts on the leaves."
    )
    sizes: ClassVar[Mapping[str, Size]] = {
        "spines": Size("How many spines."),
        "leaves": Size("How many leaves."),
        "hosts": Size("Hosts on each leaf.", default=1, least=0),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "spine": Role("router", "{group}-spine{n}"),
        "leaf": Role("router", "{group}-leaf{n}"),
        "host": HOST,
    }
    links: ClassVar[Mapping[str, str]] = {"fabric": "a leaf to a spine", "access": "a leaf to a host"}

    def count(self, sizes: Mapping[str, int]) -> tuple[int, int]:
        """Return spines, leaves and hosts, and the links of all pairs and of the hosts."""
        spines, leaves = sizes["spines"], sizes["leaves"]
        hosts = leaves * sizes["hosts"]
        return spines + leaves + hosts, spines * leaves + hosts

    def draw(self, draft: Draft, sizes: Mapping[str, int], rng: Random) -> None:
        """Draw the spines, then leaf by leaf."""
        spines = [draft.node("spine") for _ in range(sizes["spines"])]
        for _ in range(sizes["leaves"]):
            leaf = draft.node("leaf")
            for spine in spines:
                draft.link("fabric", leaf, spine)
            draft.hosts(leaf, sizes["hosts"])
