"""The routes of all nodes at once, aggregated: a set of links is one big integer, a bit a link.

Link *i* has the *i*-th subnet, so links whose numbers follow each other have one prefix. What a node knows
after n rounds is at most n links away; what it learns in a round from a neighbour it reaches through it.
So a round of all nodes costs a few operations on big integers for each link, however many nodes there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_

from orchestrator.errors import NotSupportedError
from orchestrator.topology.model import Topology
from orchestrator.topology.routing import MAX_LINKS, Paths

_RUN = re.compile("1+")
#: A lab that would need more routes is routed to the hosts that have flows, and nowhere else.
MANY_ROUTES = 400_000
#: More are refused: half an hour of making them, and gigabytes.
MOST_ROUTES = 2_000_000
#: The way to everywhere, for a host with one link: more than any lab has links.
EVERYWHERE = -1


@dataclass(frozen=True, slots=True)
class Block:
    """Links that one route leads to: 2 to the power ``bits`` of them, from ``first`` on."""

    first: int
    #: ``EVERYWHERE``: all there are.
    bits: int


@dataclass(frozen=True, slots=True)
class End:
    """A host's own address on a link, with a route of its own."""

    host: str
    link: int


class Routes:
    """For each node the blocks of links behind each of its own links."""

    def __init__(self, topology: Topology, paths: Paths) -> None:
        """Find all routes of ``topology`` over ``paths``."""
        self._paths = paths
        self._count = len(topology.links)
        hosts = [node.name for node in topology.nodes if node.name not in paths.routers]
        #: Hosts of several links: they may be nearer over one than over the other.
        self._multihomed = [name for name in hosts if len(paths.neighbours[name]) > 1]
        self._host_bits = {name: 1 << self._count + n for n, name in enumerate(self._multihomed)}
        self._own = {
            # Each link is there once, so the sum is the union.
            name: sum(1 << index for index, _ in near)
            for name, near in paths.neighbours.items()
        }
        self._exits: dict[str, dict[int, int]] = {}
        self._mask = (1 << self._count) - 1
        self._learn([*sorted(paths.routers), *(name for name in hosts if not self._has_one_way(name))])
        if self._blocks_in_all() > MANY_ROUTES:
            used = {end for flow in topology.workloads for end in (flow.source, flow.target)}
            self._mask = reduce(or_, (self._own[name] for name in used), 0)
            count = self._blocks_in_all()
            if count > MOST_ROUTES:
                raise NotSupportedError(
                    f"this lab needs {count:,} routes or more, at most {MOST_ROUTES:,} can be made; let "
                    "fewer hosts have flows, or take a shape whose addresses follow its order (tree, clos)"
                )

    def of(self, node: str) -> list[tuple[int, Block | End]]:
        """Return (own link, what lies behind it), in the order of the addresses."""
        if node not in self._exits:
            ways = self._paths.ways[node]
            return [(ways[0][0], Block(0, EVERYWHERE))] if ways else []
        found: list[tuple[int, Block | End]] = []
        for link, known in self._exits[node].items():
            found += [(link, block) for block in _blocks(known & self._mask)]
            found += [(link, end) for end in self._ends(node, known)]
        return sorted(found, key=lambda way: (_first(way[1]), isinstance(way[1], End), way[0]))

    def _blocks_in_all(self) -> int:
        """Return how many runs of links all routes have, which is not more than there are blocks."""
        routed = (known & self._mask for exits in self._exits.values() for known in exits.values())
        return sum((links & ~(links << 1)).bit_count() for links in routed)

    def _has_one_way(self, host: str) -> bool:
        """Return whether all that a host sends goes to one router."""
        near = self._paths.neighbours[host]
        return not near or (len(near) == 1 and near[0][1] in self._paths.routers)

    def _learn(self, nodes: list[str]) -> None:
        known: dict[str, int] = {}
        for name in nodes:
            known[name] = self._own[name] | self._host_bits.get(name, 0)
            exits = self._exits[name] = {}
            for link, there in self._paths.neighbours[name]:
                gain = self._host_bits.get(there, 0) & ~known[name]
                if gain:
                    exits[link] = exits.get(link, 0) | gain
                    known[name] |= gain
        news = dict(known)
        for _ in range(MAX_LINKS - 1):
            learnt: dict[str, int] = {}
            for name in nodes:
                gained = 0
                for link, there in self._paths.ways[name]:
                    gain = news.get(there, 0) & ~known[name]
                    if gain:
                        self._exits[name][link] = self._exits[name].get(link, 0) | gain
                        known[name] |= gain
                        gained |= gain
                if gained:
                    learnt[name] = gained
            if not learnt:
                return
            news = learnt

    def _ends(self, node: str, known: int) -> Iterator[End]:
        """Yield the addresses of hosts that are nearer this way than the rest of their link."""
        for number in _set_bits(known >> self._count):
            host = self._multihomed[number]
            for link in _set_bits(self._own[host] & ~known & ~self._own[node]):
                yield End(host, link)


def _first(what: Block | End) -> int:
    return what.first if isinstance(what, Block) else what.link


def _set_bits(number: int) -> Iterator[int]:
    """Yield the positions of ones, from the lowest on."""
    for run in _RUN.finditer(bin(number)[:1:-1]):
        yield from range(run.start(), run.end())


def _blocks(links: int) -> Iterator[Block]:
    """Yield the fewest prefixes that cover a set of links and nothing else."""
    for run in _RUN.finditer(bin(links)[:1:-1]):
        start, end = run.span()
        while start < end:
            bits = (end - start).bit_length() - 1
            if start:
                bits = min(bits, (start & -start).bit_length() - 1)
            yield Block(start, bits)
            start += 1 << bits
