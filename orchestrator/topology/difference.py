"""Two plans of one lab → what has to change for the first to become the second (pure)."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from orchestrator.topology.model import LinkEndpoint, NodeKind
from orchestrator.topology.plan import DeploymentPlan, InterfacePlan, LinkPlan, NodePlan


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a difference."""

    #: ``add``, ``remove`` or ``change``.
    action: str
    #: ``node`` (changed: made anew), ``link``, ``impairments``, ``routes`` or ``agent``.
    what: str
    #: The node, the link, or the endpoint that sends.
    name: str
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        """Return it as people read it."""
        told = f"{self.action:6}  {self.what} {self.name}"
        return (
            f"{told}: {self.before or 'none'} → {self.after or 'none'}" if self.before or self.after else told
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """What has to change, by name."""

    nodes_added: tuple[str, ...]
    nodes_removed: tuple[str, ...]
    #: A link whose subnet or MTU changes is in both.
    links_added: tuple[str, ...]
    links_removed: tuple[str, ...]
    #: Impairments of what this end of a link that stays sends.
    impairments: tuple[LinkEndpoint, ...]
    #: Nodes that stay, and have other routes.
    routes: tuple[str, ...]
    #: Hosts that stay, and whose agents must be started anew: their address, key or peers change.
    agents: tuple[str, ...]
    changes: tuple[Change, ...]
    #: What cannot be done to a lab that is up, one sentence each.
    impossible: tuple[str, ...]

    @property
    def only_impairments(self) -> bool:
        """Whether nothing else changes."""
        return all(change.what == "impairments" for change in self.changes)


def difference(old: DeploymentPlan, new: DeploymentPlan) -> Difference:
    """Return what makes a lab of ``old`` a lab of ``new``.

    Expectations are not looked at; nor are flows, of which a node may need more than it is made with: that
    depends on what nodes are, and ``with_made_anew`` is told.
    """
    names = {node.name for node in old.nodes}, {node.name for node in new.nodes}
    kept = [node.name for node in new.nodes if node.name in names[0]]
    known = {link.name for link in old.links}
    staying = [link.name for link in new.links if link.name in known and _same_place(link, old, new)]
    stays = frozenset(staying)
    added = tuple(node.name for node in new.nodes if node.name not in names[0])
    removed = tuple(node.name for node in old.nodes if node.name not in names[1])
    links_added = tuple(link.name for link in new.links if link.name not in stays)
    links_removed = tuple(link.name for link in old.links if link.name not in stays)
    impairments = tuple(end for name in staying for end in _reimpaired(old.link(name), new.link(name)))
    routes = tuple(name for name in kept if old.node(name).routes != new.node(name).routes)
    agents = tuple(
        name
        for name in kept
        if new.node(name).kind is NodeKind.HOST and _agent_of(old, name) != _agent_of(new, name)
    )
    changes = [
        *(Change("remove", "link", name) for name in links_removed),
        *(Change("remove", "node", name) for name in removed),
        *(Change("add", "node", name) for name in added),
        *(Change("add", "link", name) for name in links_added),
        *(_impairment_change(old, new, end) for end in impairments),
        *(Change("change", "routes", name) for name in routes),
        *(Change("change", "agent", name) for name in agents),
    ]
    return Difference(
        added,
        removed,
        links_added,
        links_removed,
        impairments,
        routes,
        agents,
        tuple(changes),
        tuple(_impossible(old, new, kept)),
    )


def with_made_anew(
    found: Difference,
    old: DeploymentPlan,
    new: DeploymentPlan,
    *,
    lost: Collection[str],
    lacking: Mapping[str, tuple[str, str]] = MappingProxyType({}),
) -> Difference:
    """Return a difference in which nodes that cannot stay, and their links, are made anew.

    Args:
        found: the difference of the two plans.
        old: what the lab was made of.
        new: what it is to be.
        lost: names of nodes that have ended; their links are gone.
        lacking: names of nodes that are not made for what the new plan asks of them: what they are made
            with, and with what they must be.
    """
    anew = {*lost, *lacking}
    nodes = [node.name for node in new.nodes if node.name in anew and node.name not in found.nodes_added]
    links = [
        link
        for link in new.links
        if link.name not in found.links_added and (link.a.node in anew or link.b.node in anew)
    ]
    names = [link.name for link in links]
    ends = {end for link in links for end in (link.a, link.b)}
    changes = [
        change
        for change in found.changes
        if not (change.what == "impairments" and change.name in map(str, ends))
        and not (change.what in ("agent", "routes") and change.name in nodes)
    ]
    there = [link.name for link in links if link.a.node not in lost and link.b.node not in lost]
    return dataclasses.replace(
        found,
        nodes_added=(*found.nodes_added, *nodes),
        nodes_removed=(*found.nodes_removed, *nodes),
        links_added=(*found.links_added, *names),
        links_removed=(*found.links_removed, *names),
        impairments=tuple(end for end in found.impairments if end not in ends),
        routes=tuple(name for name in found.routes if name not in nodes),
        agents=tuple(name for name in found.agents if name not in nodes),
        changes=(
            *(Change("remove", "link", name) for name in there),
            *changes,
            *(
                Change("add", "node", name)
                if name in lost
                else Change("change", "node", name, *lacking[name])
                for name in nodes
            ),
            *(Change("add", "link", name) for name in names),
        ),
    )


def with_indexes_of(old: DeploymentPlan, new: DeploymentPlan, difference: Difference) -> DeploymentPlan:
    """Return ``new`` with the index of each link that stays as it is, and others for those that come.

    Namespaces of links are named by these.
    """
    stays = {link.name: link.index for link in old.links if link.name not in difference.links_removed}
    free = max((link.index for link in old.links), default=-1) + 1
    links = []
    for link in new.links:
        index = stays.get(link.name)
        if index is None:
            index, free = free, free + 1
        links.append(dataclasses.replace(link, index=index))
    return dataclasses.replace(new, links=tuple(links))


def _same_place(link: LinkPlan, old: DeploymentPlan, new: DeploymentPlan) -> bool:
    """Return whether a link's ends have the addresses and sizes that they had."""
    return all(
        _interface_plan(old, end) == _interface_plan(new, end)
        # The first interface of a node has the addresses that its socket may move to.
        and _others(old.node(end.node), end) == _others(new.node(end.node), end)
        for end in (link.a, link.b)
    )


def _interface_plan(plan: DeploymentPlan, end: LinkEndpoint) -> InterfacePlan:
    return next(found for found in plan.node(end.node).interfaces if found.name == end.interface)


def _others(node: NodePlan, end: LinkEndpoint) -> tuple[str, ...]:
    first = node.interfaces[0].name if node.interfaces else ""
    return node.other_addresses if end.interface == first else ()


def _reimpaired(old: LinkPlan, new: LinkPlan) -> Iterator[LinkEndpoint]:
    if old.forward != new.forward:
        yield new.a
    if old.reverse != new.reverse:
        yield new.b


def _impairment_change(old: DeploymentPlan, new: DeploymentPlan, end: LinkEndpoint) -> Change:
    link = new.link(_interface_plan(new, end).link)
    former = old.link(link.name)
    pair = (former.forward, link.forward) if end == link.a else (former.reverse, link.reverse)
    before, after = (
        " ".join(f"{key}={value}" for key, value in found.to_mapping().items()) for found in pair
    )
    return Change("change", "impairments", str(end), before, after)


def _agent_of(plan: DeploymentPlan, name: str) -> object:
    """Return all that an agent is told at its start."""
    node = plan.node(name)
    peers = {peer.name: (peer.public_key, peer.host, peer.port) for peer in plan.peers_of(name)}
    corrupts = any(link.forward.corrupt or link.reverse.corrupt for link in plan.links)
    return node.private_key, node.host, node.port, peers, corrupts, plan.qlog


def _impossible(old: DeploymentPlan, new: DeploymentPlan, kept: list[str]) -> Iterator[str]:
    if old.seed != new.seed:
        yield f"the seed cannot change ({old.seed} → {new.seed}): keys and the chance of links follow from it"
    for name in kept:
        before, after = old.node(name), new.node(name)
        if before.kind is not after.kind:
            yield f"node {name} cannot change its kind ({before.kind.value} → {after.kind.value})"
        elif before.nat != after.nat:
            yield f"node {name} cannot change how it translates addresses"
