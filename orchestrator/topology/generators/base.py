"""What every generator of nodes and links keeps to, and the draft that it draws on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

from node.registry import Registry


@dataclass(frozen=True, slots=True)
class Size:
    """A whole number that a generator asks for."""

    description: str
    #: None: it must be given.
    default: int | None = None
    least: int = 1


@dataclass(frozen=True, slots=True)
class Role:
    """What a node is in a generated graph."""

    #: Kind of node, if the file names none.
    kind: str
    #: Its name, if the file has no pattern: {group} is the generator's name, {n} counts from 1.
    pattern: str


@dataclass(slots=True)
class Draft:
    """Nodes and links by their roles, in the order in which they were drawn."""

    nodes: list[str] = field(default_factory=list)
    #: (role, end, end), the ends as positions in ``nodes``.
    links: list[tuple[str, int, int]] = field(default_factory=list)

    def node(self, role: str) -> int:
        """Draw a node; return its position."""
        self.nodes.append(role)
        return len(self.nodes) - 1

    def link(self, role: str, a: int, b: int) -> None:
        """Draw a link between two nodes."""
        self.links.append((role, a, b))

    def hosts(self, router: int, count: int) -> None:
        """Hang hosts on a router."""
        for _ in range(count):
            self.link("access", router, self.node("host"))

    def counts(self) -> Counter[str]:
        """Return how many nodes each role has."""
        return Counter(self.nodes)


class Generator(ABC):
    """A shape of graphs. Equal sizes and an equal ``rng`` give equal graphs, and every graph is connected."""

    name: ClassVar[str]
    #: One line, for editors and documentation.
    description: ClassVar[str]
    sizes: ClassVar[Mapping[str, Size]]
    roles: ClassVar[Mapping[str, Role]]
    #: Roles of links → what they join.
    links: ClassVar[Mapping[str, str]]
    #: Whether ``rng`` is used.
    chance: ClassVar[bool] = False

    @abstractmethod
    def count(self, sizes: Mapping[str, int]) -> tuple[int, int]:
        """Return how many nodes and links ``draw`` makes, without making any: sizes may be absurd."""

    @abstractmethod
    def draw(self, draft: Draft, sizes: Mapping[str, int], rng: Random) -> None:
        """Draw the graph. Only ``random`` uses chance."""

    def problem(self, sizes: Mapping[str, int]) -> str | None:
        """Return what is wrong with sizes that do not fit each other, as "message; advice", or None."""
        return None


#: Shape → generator.
GENERATORS: Registry[type[Generator]] = Registry("shape", "orchestrator.topology.generators")

HOST = Role("host", "{group}-h{n}")
ROUTER = Role("router", "{group}-r{n}")
ACCESS = "a host to its router"


def register(shape: type[Generator]) -> type[Generator]:
    """Register a generator under its name."""
    decorate: Callable[[type[Generator]], type[Generator]] = GENERATORS.register(shape.name)
    return decorate(shape)
