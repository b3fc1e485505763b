"""Routers in a ring."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import ClassVar

from orchestrator.topology.generators.base import ACCESS, HOST, ROUTER, Draft, Generator, Role, Size, register


@register
class Ring(Generator):
    """``size`` routers in a ring, each with ``hosts`` hosts."""

    name: ClassVar[str] = "ring"
    description: ClassVar[str] = "Routers in a ring, each with hosts."
    sizes: ClassVar[Mapping[str, Size]] = {
        "size": Size("How many routers.", least=3),
        "hosts": Size("Hosts on each router.", default=1, least=0),
    }
    roles: ClassVar[Mapping[str, Role]] = {"router": ROUTER, "host": HOST}
    links: ClassVar[Mapping[str, str]] = {"core": "a router to the next one", "access": ACCESS}

    def count(self, sizes: Mapping[str, int]) -> tuple[int, int]:
        """Return routers with their hosts, and as many links as nodes."""
        nodes = sizes["size"] * (1 + sizes["hosts"])
        return nodes, nodes

    def draw(self, draft: Draft, sizes: Mapping[str, int], rng: Random) -> None:
        """Draw each router with its hosts, and the link that closes the ring last."""
        routers: list[int] = []
        for _ in range(sizes["size"]):
            routers.append(draft.node("router"))
            if len(routers) > 1:
                draft.link("core", routers[-2], routers[-1])
            draft.hosts(routers[-1], sizes["hosts"])
        draft.link("core", routers[-1], routers[0])
