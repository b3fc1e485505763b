"""Static shortest-path routes: fewest links first, then the path whose first link is earliest in the file.

Only routers forward: a host is the end of every path through it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.topology.model import Topology


@dataclass(frozen=True, slots=True)
class Hop:
    """The first step of the shortest path to a node."""

    #: Index of the link in the topology.
    link: int
    #: The node at its other end.
    node: str
    #: How many links the whole path has.
    distance: int


class Paths:
    """The shortest paths of a topology, found when first asked for."""

    def __init__(self, topology: Topology) -> None:
        self.routers = frozenset(node.name for node in topology.nodes if node.kind.forwards)
        self._neighbours: dict[str, list[tuple[int, str]]] = {node.name: [] for node in topology.nodes}
        for index, link in enumerate(topology.links):
            self._neighbours[link.a.node].append((index, link.b.node))
            self._neighbours[link.b.node].append((index, link.a.node))
        self._hops: dict[str, Mapping[str, Hop]] = {}

    def first_hops(self, source: str) -> Mapping[str, Hop]:
        """Return for each other node that ``source`` can reach the first step towards it."""
        if source not in self._hops:
            self._hops[source] = self._search(source)
        return self._hops[source]

    def reachable(self, source: str) -> frozenset[str]:
        """Return the nodes that packets from ``source`` can get to, itself included."""
        return frozenset((source, *self.first_hops(source)))

    def links(self, source: str, target: str) -> tuple[int, ...]:
        """Return the indices of the links from source to target, in order; empty if there is no path."""
        links: list[int] = []
        while source != target:
            hop = self.first_hops(source).get(target)
            if hop is None:
                return ()
            links.append(hop.link)
            source = hop.node
        return tuple(links)

    def _search(self, source: str) -> Mapping[str, Hop]:
        """Search breadth first: what is found first is nearest."""
        hops: dict[str, Hop] = {}
        queue: deque[str] = deque([source])
        while queue:
            here = queue.popleft()
            if here != source and here not in self.routers:
                continue
            for link, there in self._neighbours[here]:
                if there == source or there in hops:
                    continue
                first = hops.get(here, Hop(link, there, 0))
                hops[there] = Hop(first.link, first.node, first.distance + 1)
                queue.append(there)
        return hops
