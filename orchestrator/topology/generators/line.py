"""Routers in a row."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import ClassVar

from orchestrator.topology.generators.base import ACCESS, HOST, ROUTER, Draft, Generator, Role, Size, register


@register
class Line(Generator):
    """``size`` routers in a row, each with ``hosts`` hosts."""

    name: ClassVar[str] = "line"
    description: ClassVar[str] = "Routers in a row, each with hosts."
    sizes: ClassVar[Mapping[str, Size]] = {
        "size": Size("How many routers."),
        "hosts": Size("Hosts on each router.", default=1, least=0),
    }
    roles: ClassVar[Mapping[str, Role]] = {"router": ROUTER, "host": HOST}
    links: ClassVar[Mapping[str, str]] = {"core": "a router to the next one", "access": ACCESS}

    def count(self, sizes: Mapping[str, int]) -> tuple[int, int]:
        """Return routers with their hosts, and the links between and to them."""
        routers, hosts = sizes["size"], sizes["size"] * sizes["hosts"]
        return routers + hosts, routers - 1 + hosts

    def draw(self, draft: Draft, sizes: Mapping[str, int], rng: Random) -> None:
        """Draw each router with its hosts, from left to right."""
        before: int | None = None
        for _ in range(sizes["size"]):
            router = draft.node("router")
            if before is not None:
                draft.link("core", before, router)
            draft.hosts(router, sizes["hosts"])
            before = router
