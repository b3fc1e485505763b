"""Routers joined at random, all of them connected."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import ClassVar

from orchestrator.topology.generators.base import ACCESS, HOST, ROUTER, Draft, Generator, Role, Size, register


@register
class RandomGraph(Generator):
    """A random tree of ``size`` routers, and links of random pairs until each has ``degree`` on average."""

    name: ClassVar[str] = "random"
    description: ClassVar[str] = "Routers joined at random, all connected, each with hosts."
    sizes: ClassVar[Mapping[str, Size]] = {
        "size": Size("How many routers.", least=2),
        "degree": Size("Links between routers that each has on average.", default=3),
        "hosts": Size("Hosts on each router.", default=1, least=0),
    }
    roles: ClassVar[Mapping[str, Role]] = {"router": ROUTER, "host": HOST}
    links: ClassVar[Mapping[str, str]] = {"core": "two routers", "access": ACCESS}
    chance: ClassVar[bool] = True

    def count(self, sizes: Mapping[str, int]) -> tuple[int, int]:
        """Return routers with their hosts, and half the sum of all degrees, at least a tree."""
        size, hosts = sizes["size"], sizes["size"] * sizes["hosts"]
        return size + hosts, self._core_links(sizes) + hosts

    def problem(self, sizes: Mapping[str, int]) -> str | None:
        """Return that there are not so many pairs."""
        if sizes["degree"] >= sizes["size"]:
            most = sizes["size"] - 1
            return f"{sizes['size']} routers cannot have {sizes['degree']} links each; take at most {most}"
        return None

    def draw(self, draft: Draft, sizes: Mapping[str, int], rng: Random) -> None:
        """Draw the tree, then the other links, then the hosts."""
        routers = [draft.node("router") for _ in range(sizes["size"])]
        pairs: set[tuple[int, int]] = set()
        for position in range(1, len(routers)):
            self._join(draft, pairs, routers[rng.randrange(position)], routers[position])
        wanted, size = self._core_links(sizes), len(routers)
        if 2 * wanted > size * (size - 1) // 2:
            # Drawing blindly would hit pairs that are joined already.
            free = [(a, b) for b in range(size) for a in range(b) if (a, b) not in pairs]
            for a, b in rng.sample(free, wanted - len(pairs)):
                self._join(draft, pairs, a, b)
        while len(pairs) < wanted:
            a, b = sorted(rng.sample(range(size), 2))
            if (a, b) not in pairs:
                self._join(draft, pairs, a, b)
        for router in routers:
            draft.hosts(router, sizes["hosts"])

    @staticmethod
    def _core_links(sizes: Mapping[str, int]) -> int:
        size = sizes["size"]
        return min(size * (size - 1) // 2, max(size - 1, size * sizes["degree"] // 2))

    @staticmethod
    def _join(draft: Draft, pairs: set[tuple[int, int]], a: int, b: int) -> None:
        pairs.add((a, b))
        draft.link("core", a, b)
