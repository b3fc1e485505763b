"""Routers, each joined to each other."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import ClassVar

from orchestrator.topology.generators.base import ACCESS, HOST, ROUTER, Draft, Generator, Role, Size, register


@register
class Mesh(Generator):
    """``size`` routers, a link for each pair, and ``hosts`` hosts on each."""

    name: ClassVar[str] = "mesh"
    description: ClassVar[str] = "Routers, each joined to each other, each with hosts."
    sizes: ClassVar[Mapping[str, Size]] = {
        "size": Size("How many routers.", least=2),
        "hosts": Size("Hosts on each router.", default=1, least=0),
    }
    roles: ClassVar[Mapping[str, Role]] = {"router": ROUTER, "host": HOST}
    links: ClassVar[Mapping[str, str]] = {"core": "a pair of routers", "access": ACCESS}

    def count(self, sizes: Mapping[str, int]) -> tuple[int, int]:
        """Return routers with their hosts, and a link for each pair and each host."""
        size, hosts = sizes["size"], sizes["size"] * sizes["hosts"]
        return size + hosts, size * (size - 1) // 2 + hosts

    def draw(self, draft: Draft, sizes: Mapping[str, int], rng: Random) -> None:
        """Draw each router with the links to those before it, then its hosts."""
        routers: list[int] = []
        for _ in range(sizes["size"]):
            router = draft.node("router")
            for other in routers:
                draft.link("core", other, router)
            routers.append(router)
            draft.hosts(router, sizes["hosts"])
