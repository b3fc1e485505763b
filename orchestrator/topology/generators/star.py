"""Hosts around one router."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import ClassVar

from orchestrator.topology.generators.base import ACCESS, HOST, Draft, Generator, Role, Size, register


@register
class Star(Generator):
    """``size`` hosts, each on a link of its own to the hub."""

    name: ClassVar[str] = "star"
    description: ClassVar[str] = "Hosts around one router."
    sizes: ClassVar[Mapping[str, Size]] = {"size": Size("How many hosts.")}
    roles: ClassVar[Mapping[str, Role]] = {"hub": Role("router", "{group}-hub"), "host": HOST}
    links: ClassVar[Mapping[str, str]] = {"access": ACCESS}

    def count(self, sizes: Mapping[str, int]) -> tuple[int, int]:
        """Return the hub and the hosts, and a link a host."""
        return 1 + sizes["size"], sizes["size"]

    def draw(self, draft: Draft, sizes: Mapping[str, int], rng: Random) -> None:
        """Draw the hub first."""
        draft.hosts(draft.node("hub"), sizes["size"])
