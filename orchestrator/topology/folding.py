"""A large topology as one that can be drawn: hosts that are alike become one, and so do their flows."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from orchestrator.topology.model import (
    Expectation,
    Link,
    LinkEndpoint,
    NodeKind,
    Topology,
    WorkloadSpec,
)

#: Topologies of more nodes are folded.
MANY_NODES = 20
_NUMBER = re.compile(r"[0-9]+$")


def fold(topology: Topology) -> Topology:
    """Return ``topology`` with each group of hosts as one node, called ``server1…server48 (48)``.

    A group is of hosts whose names differ by their number, each on a link alike to the same node.
    """
    groups = _groups(topology)
    names = {host: _called(hosts) for hosts in groups for host in hosts}
    first = {hosts[0] for hosts in groups}
    kept = [node for node in topology.nodes if node.name not in names or node.name in first]
    flows, flow_names = _flows(topology.workloads, names)
    return dataclasses.replace(
        topology,
        nodes=tuple(dataclasses.replace(node, name=names.get(node.name, node.name)) for node in kept),
        links=tuple(_links(topology.links, names, first)),
        workloads=tuple(flows),
        expectations=tuple(_expectations(topology.expectations, flow_names)),
    )


def _groups(topology: Topology) -> list[list[str]]:
    ends: dict[str, list[tuple[object, ...]]] = {}
    for link in topology.links:
        both = ((link.a.node, link.b.node, link.forward, link.reverse),)
        for here, there, out, back in (*both, (link.b.node, link.a.node, link.reverse, link.forward)):
            ends.setdefault(here, []).append((there, out, back, link.mtu, link.ip))
    found: dict[tuple[object, ...], list[str]] = {}
    for node in topology.nodes:
        if node.kind is NodeKind.HOST and len(ends.get(node.name, ())) == 1:
            found.setdefault((_stem(node.name), ends[node.name][0]), []).append(node.name)
    return [hosts for hosts in found.values() if len(hosts) > 1]


def _stem(name: str) -> str:
    return _NUMBER.sub("", name)


def _called(members: Sequence[str]) -> str:
    return f"{members[0]}…{members[-1]} ({len(members)})"


def _links(links: Sequence[Link], names: Mapping[str, str], first: set[str]) -> list[Link]:
    """Return the links that are left: of a group's only the first one's."""
    kept = [
        link for link in links if all(end.node not in names or end.node in first for end in (link.a, link.b))
    ]
    return [dataclasses.replace(link, a=_renamed(link.a, names), b=_renamed(link.b, names)) for link in kept]


def _renamed(end: LinkEndpoint, names: Mapping[str, str]) -> LinkEndpoint:
    return LinkEndpoint(names.get(end.node, end.node), end.interface)


def _flows(
    flows: Sequence[WorkloadSpec], names: Mapping[str, str]
) -> tuple[list[WorkloadSpec], dict[str, str]]:
    """Return flows between groups, and for each flow the name of what it is in."""
    alike: dict[tuple[object, ...], list[WorkloadSpec]] = {}
    for flow in flows:
        options = tuple(sorted((key, str(value)) for key, value in flow.options.items() if key != "seed"))
        ends = (names.get(flow.source, flow.source), names.get(flow.target, flow.target))
        alike.setdefault((_stem(flow.name), flow.kind, *ends, options, flow.start), []).append(flow)
    folded: list[WorkloadSpec] = []
    called: dict[str, str] = {}
    for members in alike.values():
        one, count = members[0], len(members)
        name = one.name if count == 1 else f"{_stem(one.name).rstrip('-')} ×{count}"
        source, target = (names.get(end, end) for end in (one.source, one.target))
        folded.append(dataclasses.replace(one, name=name, source=source, target=target))
        called.update({flow.name: name for flow in members})
    return folded, called


def _expectations(found: Sequence[Expectation], called: Mapping[str, str]) -> list[Expectation]:
    folded = (dataclasses.replace(one, flow=None if one.flow is None else called[one.flow]) for one in found)
    return list(dict.fromkeys(folded))
