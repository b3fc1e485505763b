"""A tree of routers with hosts as its leaves."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import ClassVar

from orchestrator.topology.generators.base import HOST, ROUTER, Draft, Generator, Role, Size, register

#: Deeper trees than this have no place on any machine: 2 to the 64th leaves.
_MAX_DEPTH = 64


@register
class Tree(Generator):
    """A root, ``depth`` levels below it, ``fan-out`` nodes below each router; the last level are hosts."""

    name: ClassVar[str] = "tree"
    description: ClassVar[str] = "A tree of routers; its leaves are hosts."
    sizes: ClassVar[Mapping[str, Size]] = {
        "depth": Size("Levels below the root."),
        "fan-out": Size("Nodes below each router.", default=2),
    }
    roles: ClassVar[Mapping[str, Role]] = {"router": ROUTER, "host": HOST}
    links: ClassVar[Mapping[str, str]] = {
        "core": "a router to one below it",
        "access": "a router of the last level but one to a host",
    }

    def count(self, sizes: Mapping[str, int]) -> tuple[int, int]:
        """Return the sum of a geometric series, and a link for each node but the root."""
        depth, nodes, level = sizes["depth"], 1, 1
        for _ in range(min(depth, _MAX_DEPTH)):
            level *= sizes["fan-out"]
            nodes += level
        return nodes + max(0, depth - _MAX_DEPTH), nodes - 1 + max(0, depth - _MAX_DEPTH)

    def problem(self, sizes: Mapping[str, int]) -> str | None:
        """Return that a tree is too deep for any packet."""
        if sizes["depth"] > _MAX_DEPTH:
            return f"a tree of {sizes['depth']} levels is deeper than packets live; take at most {_MAX_DEPTH}"
        return None

    def draw(self, draft: Draft, sizes: Mapping[str, int], rng: Random) -> None:
        """Draw depth first: all below a router have links in one range, so one route leads to them."""
        fan_out = sizes["fan-out"]
        waiting = [(draft.node("router"), sizes["depth"])] * fan_out
        while waiting:
            above, levels = waiting.pop()
            if levels == 1:
                draft.link("access", above, draft.node("host"))
                continue
            router = draft.node("router")
            draft.link("core", above, router)
            waiting.extend([(router, levels - 1)] * fan_out)
