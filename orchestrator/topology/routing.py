"""Static shortest paths: fewest links first, then the path whose first link is earliest in the file.

Only routers forward: a host is the end of every path through it. Paths are followed back from their target,
one search for all flows to it; a lab of ten thousand nodes has as many searches as it has targets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from orchestrator.topology.model import Topology

#: Links on a path at most: packets start with a time to live of 64, and each router takes one.
MAX_LINKS = 64


class Paths:
    """The shortest paths of a topology over the links that carry one version of IP."""

    def __init__(self, topology: Topology, family: int | None = None) -> None:
        """Take the links of ``family`` (4 or 6; None: all links)."""
        self.routers = frozenset(node.name for node in topology.nodes if node.kind.forwards)
        #: Node → (index of the link, node at its other end), in the order of the file.
        self.neighbours: dict[str, list[tuple[int, str]]] = {node.name: [] for node in topology.nodes}
        for index, link in enumerate(topology.links):
            if family is None or family in link.ip.families:
                self.neighbours[link.a.node].append((index, link.b.node))
                self.neighbours[link.b.node].append((index, link.a.node))
        #: As ``neighbours``, routers only: what a search goes through.
        self.ways: dict[str, list[tuple[int, str]]] = {
            name: [(index, there) for index, there in near if there in self.routers]
            for name, near in self.neighbours.items()
        }
        self._distances: dict[str, Mapping[str, int]] = {}
        self._parts: dict[str, int] = {}

    def joined(self, source: str, target: str) -> bool:
        """Return whether packets from ``source`` get to ``target``."""
        if source == target or any(there == target for _, there in self._shorter(source, target)):
            return True
        return not self._parts_of(source).isdisjoint(self._parts_of(target))

    def reachable(self, source: str) -> frozenset[str]:
        """Return the nodes that packets from ``source`` can get to, itself included."""
        near = {there for _, there in self.neighbours[source]}
        parts = self._parts_of(source)
        far = {name for name in self.neighbours if not parts.isdisjoint(self._parts_of(name))}
        return frozenset({source, *near, *far})

    def links(self, source: str, target: str) -> tuple[int, ...]:
        """Return the indices of the links from source to target, in order; empty if there is no path."""
        distances = self._distances_to(target)
        links: list[int] = []
        while source != target:
            found = next((index for index, there in self._shorter(source, target) if there == target), None)
            if found is not None:
                return (*links, found)
            ways = [
                (distances[there], index, there) for index, there in self.ways[source] if there in distances
            ]
            if not ways:
                return ()
            _, index, source = min(ways)
            links.append(index)
        return tuple(links)

    def _shorter(self, source: str, target: str) -> list[tuple[int, str]]:
        """Return the neighbours of that end of a link that has fewer, as if they were of ``source``."""
        here, there = self.neighbours[source], self.neighbours[target]
        if len(here) <= len(there):
            return here
        return [(index, target) for index, name in there if name == source]

    def _distances_to(self, target: str) -> Mapping[str, int]:
        """Return how far each router is from ``target``."""
        found = self._distances.get(target)
        if found is None:
            distances = {target: 0} if target in self.routers else {}
            distances.update({there: 1 for _, there in self.ways[target]})
            queue = deque(distances)
            while queue:
                here = queue.popleft()
                for _, there in self.ways[here]:
                    if there not in distances:
                        distances[there] = distances[here] + 1
                        queue.append(there)
            found = self._distances[target] = distances
        return found

    def _parts_of(self, name: str) -> frozenset[int]:
        """Return the parts of the network that a node is in: routers that reach each other are one."""
        if not self._parts:
            for router in self.neighbours:
                if router in self.routers and router not in self._parts:
                    self._mark(router, len(self._parts) + 1)
        if name in self.routers:
            return frozenset((self._parts[name],))
        return frozenset(self._parts[there] for _, there in self.ways[name])

    def _mark(self, router: str, part: int) -> None:
        self._parts[router] = part
        waiting = [router]
        while waiting:
            for _, there in self.ways[waiting.pop()]:
                if there not in self._parts:
                    self._parts[there] = part
                    waiting.append(there)
