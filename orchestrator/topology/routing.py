"""Static shortest-path routes: fewest links first, then the path whose first link is earliest in the file.

Only routers forward: a host is the end of every path through it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.topology.model import Link, NodeKind, Topology


@dataclass(frozen=True, slots=True)
class Hop:
    """The first step of the shortest path to a node."""

    #: Index of the link in the topology.
    link: int
    #: The node at its other end.
    node: str
    #: How many links the whole path has.
    distance: int


@lru_cache(maxsize=16)
def _neighbours(topology_links: tuple[Link, ...]) -> Mapping[str, list[tuple[int, str]]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for index, link in enumerate(topology_links):
        found.setdefault(link.a.node, []).append((index, link.b.node))
        found.setdefault(link.b.node, []).append((index, link.a.node))
    return found


def first_hops(topology: Topology, source: str) -> Mapping[str, Hop]:
    """Return for each other node that ``source`` can reach the first step towards it."""
    neighbours = _neighbours(topology.links)
    routers = {node.name for node in topology.nodes if node.kind is NodeKind.ROUTER}
    hops: dict[str, Hop] = {}
    queue: deque[str] = deque([source])
    while queue:
        here = queue.popleft()
        if here != source and here not in routers:
            continue
        for link, there in neighbours.get(here, []):
            if there == source or there in hops:
                continue
            before = hops.get(here)
            hops[there] = (
                Hop(link, there, 1) if before is None else Hop(before.link, before.node, before.distance + 1)
            )
            queue.append(there)
    return hops


def reachable(topology: Topology, source: str) -> frozenset[str]:
    """Return the nodes that packets from ``source`` can get to, itself included."""
    return frozenset((source, *first_hops(topology, source)))


def path_links(topology: Topology, source: str, target: str) -> tuple[int, ...]:
    """Return the indices of the links from source to target, in order; empty if there is no path."""
    links: list[int] = []
    here = source
    while here != target:
        hop = first_hops(topology, here).get(target)
        if hop is None:
            return ()
        links.append(hop.link)
        here = hop.node
    return tuple(links)
