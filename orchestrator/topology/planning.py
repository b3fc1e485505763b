"""Topology → DeploymentPlan: pure, deterministic, printable."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network
from operator import itemgetter

from node.protocol.configuration import Configuration
from node.protocol.identity import Identity
from orchestrator.topology.addressing import PORT, InterfaceAddress, addresses, pre_shared_key, private_key
from orchestrator.topology.model import (
    Expectation,
    Link,
    LinkEndpoint,
    Nat,
    Node,
    TimelineEvent,
    Topology,
    WorkloadSpec,
)
from orchestrator.topology.moves import with_other_addresses
from orchestrator.topology.plan import DeploymentPlan, InterfacePlan, LinkPlan, NodePlan, RoutePlan
from orchestrator.topology.routing import Hop, Paths

#: IPv4 and UDP headers: a link's MTU less these is the largest datagram that crosses it whole.
HEADER_BYTES = 28


def make_plan(topology: Topology, *, seed: int | None = None, qlog: bool | None = None) -> DeploymentPlan:
    """Return what a back end must make for ``topology``.

    Args:
        topology: a valid topology.
        seed: takes the place of the topology's own.
        qlog: whether the nodes trace their connections, whatever the topology says; None: as it says.
    """
    if seed is not None:
        topology = dataclasses.replace(topology, seed=seed)
    table, paths = addresses(topology), Paths(topology)
    return DeploymentPlan(
        name=topology.name,
        seed=topology.seed,
        nodes=with_other_addresses(
            [_node(topology, node, table, paths) for node in topology.nodes], topology.timeline
        ),
        links=tuple(
            LinkPlan(link.name, index, link.a, link.b, link.forward, link.reverse, link.mtu)
            for index, link in enumerate(topology.links)
        ),
        workloads=tuple(_workload(topology, flow, paths) for flow in topology.workloads),
        expectations=topology.expectations,
        time_limit=topology.time_limit,
        qlog=topology.qlog if qlog is None else qlog,
        timeline=topology.timeline,
    )


def _node(
    topology: Topology, node: Node, table: Mapping[LinkEndpoint, InterfaceAddress], paths: Paths
) -> NodePlan:
    identity = Identity(private_key(topology.seed, node.name))
    interfaces = tuple(
        InterfacePlan(
            end.interface,
            link.name,
            f"{table[end].ipv4}/{table[end].subnet.prefixlen}",
            table[end].mac,
            link.mtu,
        )
        for link in topology.links
        for end in (link.a, link.b)
        if end.node == node.name
    )
    return NodePlan(
        name=node.name,
        kind=node.kind,
        private_key=identity.private_key,
        public_key=identity.public_key,
        address=identity.address,
        ipv4=interfaces[0].ipv4.partition("/")[0] if interfaces else "127.0.0.1",
        port=PORT,
        interfaces=interfaces,
        routes=_routes(topology, node, table, paths),
        nat=node.nat,
        outer_addresses=_outer_addresses(topology, node, table, paths),
    )


def _outer_addresses(
    topology: Topology, node: Node, table: Mapping[LinkEndpoint, InterfaceAddress], paths: Paths
) -> tuple[str, ...]:
    """Return the outer addresses of the NAT routers that a host reaches from their inside."""
    found = []
    for router in topology.nodes if node.nat is None else ():
        if router.nat is not None and (way := paths.links(node.name, router.name)):
            last = topology.links[way[-1]]
            outside = LinkEndpoint(router.name, router.nat.outside)
            if outside not in (last.a, last.b):
                found.append(str(table[outside].ipv4))
    return tuple(found)


def _routes(
    topology: Topology, node: Node, table: Mapping[LinkEndpoint, InterfaceAddress], paths: Paths
) -> tuple[RoutePlan, ...]:
    """Return routes to all addresses that the node can reach and is not on a link with, by address."""
    hops = paths.first_hops(node.name)
    used = dict.fromkeys(hop.link for hop in hops.values())
    exits = {index: _exit(node, topology.links[index], table) for index in used}
    return tuple(
        RoutePlan(str(prefix), *exits[hop.link])
        for link in topology.links
        if node.name not in (link.a.node, link.b.node)
        for prefix, hop in sorted(_ways(link, hops, table, paths.routers), key=itemgetter(0))
    )


def _ways(
    link: Link,
    hops: Mapping[str, Hop],
    table: Mapping[LinkEndpoint, InterfaceAddress],
    routers: frozenset[str],
) -> Iterator[tuple[IPv4Network, Hop]]:
    """Yield (prefix, first hop) that together cover a link's addresses.

    The subnet goes to the nearer end that is a router. A host does not forward to the link's other
    end, so an end that is a host and lies in another direction has a route of its own.
    """
    ends = sorted(
        (end for end in (link.a, link.b) if end.node in hops), key=lambda end: hops[end.node].distance
    )
    router = next((end for end in ends if end.node in routers), None)
    if router is not None:
        yield table[router].subnet, hops[router.node]
    for end in ends:
        if end.node not in routers and (router is None or hops[end.node].link != hops[router.node].link):
            yield IPv4Network(table[end].ipv4), hops[end.node]


def _exit(node: Node, link: Link, table: Mapping[LinkEndpoint, InterfaceAddress]) -> tuple[str, str]:
    """Return the address at the other end of a node's own link, and the node's interface on it."""
    own, other = (link.a, link.b) if link.a.node == node.name else (link.b, link.a)
    return str(table[other].ipv4), own.interface


def _workload(topology: Topology, flow: WorkloadSpec, paths: Paths) -> WorkloadSpec:
    """Complete a flow: transport of its source's node below its own, datagrams that fit its path."""
    source = topology.node(flow.source)
    transport = {**source.transport, **flow.transport}
    mtus = [topology.links[index].mtu for index in paths.links(flow.source, flow.target)]
    largest = min(mtus) - HEADER_BYTES
    if "max_datagram_size" not in transport and largest < Configuration().max_datagram_size:
        transport["max_datagram_size"] = largest
    if transport.get("handshake") == "ik-psk2":
        transport["pre_shared_key"] = pre_shared_key(topology.seed, flow.source, flow.target).hex()
    options = dict(flow.options)
    if "file" not in options:
        options.setdefault("seed", f"{topology.seed}/flow/{flow.name}")
    return dataclasses.replace(flow, options=options, transport=transport)


def plan_to_json(plan: DeploymentPlan) -> Mapping[str, object]:
    """Return the plan as JSON-able data. The lab's secret keys are in it: they follow from the seed."""
    return {
        "name": plan.name,
        "seed": plan.seed,
        "time_limit_ns": plan.time_limit,
        "nodes": [_node_to_json(node) for node in plan.nodes],
        "links": [_link_to_json(link) for link in plan.links],
        "workloads": [_workload_to_json(flow) for flow in plan.workloads],
        "expectations": [_expectation_to_json(expectation) for expectation in plan.expectations],
        # Only where it is on: a trace changes nothing of what is made, and digests stay as they were.
        **({"qlog": True} if plan.qlog else {}),
        **({"timeline": [_event_to_json(event) for event in plan.timeline]} if plan.timeline else {}),
    }


def _node_to_json(node: NodePlan) -> Mapping[str, object]:
    return {
        "name": node.name,
        "kind": node.kind.value,
        "private_key": node.private_key.hex(),
        "public_key": node.public_key.hex(),
        "address": f"{node.address:016x}",
        "ipv4": node.ipv4,
        "port": node.port,
        "interfaces": [dataclasses.asdict(interface) for interface in node.interfaces],
        "routes": [dataclasses.asdict(route) for route in node.routes],
        # Only where there is something to say, as for `qlog`.
        **({"other_addresses": list(node.other_addresses)} if node.other_addresses else {}),
        **({"outer_addresses": list(node.outer_addresses)} if node.outer_addresses else {}),
        **({} if node.nat is None else {"nat": _nat_to_json(node.nat)}),
    }


def _nat_to_json(nat: Nat) -> Mapping[str, object]:
    return {"timeout_ns": nat.timeout, "outside": nat.outside, "ports": nat.ports.value}


def _event_to_json(event: TimelineEvent) -> Mapping[str, object]:
    return {
        "at_ns": event.at,
        "action": event.action,
        "value": event.value,
        "for_ns": event.duration,
        "every_ns": event.every,
        "count": event.count,
    }


def _link_to_json(link: LinkPlan) -> Mapping[str, object]:
    return {
        "name": link.name,
        "index": link.index,
        "a": str(link.a),
        "b": str(link.b),
        "mtu": link.mtu,
        "forward": link.forward.to_mapping(),
        "reverse": link.reverse.to_mapping(),
    }


def _workload_to_json(flow: WorkloadSpec) -> Mapping[str, object]:
    return {
        "name": flow.name,
        "kind": flow.kind,
        "from": flow.source,
        "to": flow.target,
        "start_ns": flow.start,
        "options": dict(sorted(flow.options.items())),
        "transport": dict(sorted(flow.transport.items())),
        **({"restarts": True} if flow.restarts else {}),
    }


def _expectation_to_json(expectation: Expectation) -> Mapping[str, object]:
    return {
        "kind": expectation.kind,
        "flow": expectation.flow,
        "operator": expectation.operator,
        "value": expectation.value,
        "text": expectation.text,
    }
