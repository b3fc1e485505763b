"""Two stars with one link between their hubs."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import ClassVar

from orchestrator.topology.generators.base import ACCESS, ROUTER, Draft, Generator, Role, Size, register


@register
class Dumbbell(Generator):
    """``left`` and ``right`` hosts, a router on each side, and the bottleneck between the routers."""

    name: ClassVar[str] = "dumbbell"
    description: ClassVar[str] = "Hosts on both sides of one bottleneck."
    sizes: ClassVar[Mapping[str, Size]] = {
        "left": Size("Hosts on the left."),
        "right": Size("Hosts on the right."),
    }
    roles: ClassVar[Mapping[str, Role]] = {
        "router": ROUTER,
        "left": Role("host", "{group}-left{n}"),
        "right": Role("host", "{group}-right{n}"),
    }
    links: ClassVar[Mapping[str, str]] = {"bottleneck": "the two routers, left to right", "access": ACCESS}

    def count(self, sizes: Mapping[str, int]) -> tuple[int, int]:
        """Return two routers and the hosts, and a tree's number of links."""
        hosts = sizes["left"] + sizes["right"]
        return hosts + 2, hosts + 1

    def draw(self, draft: Draft, sizes: Mapping[str, int], rng: Random) -> None:
        """Draw the bottleneck first."""
        left, right = draft.node("router"), draft.node("router")
        draft.link("bottleneck", left, right)
        for router, role in ((left, "left"), (right, "right")):
            for _ in range(sizes[role]):
                draft.link("access", router, draft.node(role))
