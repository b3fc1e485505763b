"""Topology → DeploymentPlan: pure, deterministic, printable."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from node.protocol.configuration import Configuration
from node.protocol.identity import Identity
from node.transports.base import STRAIT
from node.transports.quic import DEFAULT_DATAGRAM_BYTES
from orchestrator.topology.addressing import (
    PORT,
    SPACES,
    InterfaceAddress,
    addresses,
    pre_shared_key,
    private_key,
)
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
from orchestrator.topology.routes import EVERYWHERE, End, Routes
from orchestrator.topology.routing import Paths

#: Transport settings by which a node treats those of whom it knows nothing yet.
_OF_SOCKETS = ("retry_threshold",)
#: IP and UDP headers, by version of IP: what is left of a link's MTU is the largest datagram that crosses it.
HEADER_BYTES = {4: 28, 6: 48}


def make_plan(topology: Topology, *, seed: int | None = None, qlog: bool | None = None) -> DeploymentPlan:
    """Return what a back end must make for ``topology``.

    Args:
        topology: a valid topology.
        seed: takes the place of the topology's own.
        qlog: whether the nodes trace their connections, whatever the topology says; None: as it says.
    """
    if seed is not None:
        topology = dataclasses.replace(topology, seed=seed)
    family = family_of(topology)
    table, paths = addresses(topology), Paths(topology, family)
    families = sorted({family for link in topology.links for family in link.ip.families})
    routes = {family: Routes(topology, Paths(topology, family)) for family in families}
    interfaces = _interfaces(topology, table)
    nats = [node for node in topology.nodes if node.nat is not None]
    return DeploymentPlan(
        name=topology.name,
        seed=topology.seed,
        nodes=with_other_addresses(
            [
                dataclasses.replace(
                    _node(
                        topology, node, interfaces[node.name], _routes(topology, node, table, routes), family
                    ),
                    outer_addresses=_outer_addresses(topology, nats, node, table, paths),
                )
                for node in topology.nodes
            ],
            topology.timeline,
        ),
        links=tuple(
            LinkPlan(link.name, index, link.a, link.b, link.forward, link.reverse, link.mtu)
            for index, link in enumerate(topology.links)
        ),
        workloads=tuple(_workload(topology, flow, paths, family) for flow in topology.workloads),
        expectations=topology.expectations,
        time_limit=topology.time_limit,
        qlog=topology.qlog if qlog is None else qlog,
        timeline=topology.timeline,
        labels=topology.labels,
    )


def family_of(topology: Topology) -> int:
    """Return the version of IP that the lab's flows use: 6 where all of them can, else 4."""
    if not any(6 in link.ip.families for link in topology.links):
        return 4
    paths = Paths(topology, 6)
    able = all(paths.joined(flow.source, flow.target) for flow in topology.workloads)
    # Without flows it is a matter of addresses: every node that has one has one of IPv6.
    return 6 if able and (topology.workloads or all(6 in link.ip.families for link in topology.links)) else 4


def _interfaces(
    topology: Topology, table: Mapping[LinkEndpoint, InterfaceAddress]
) -> Mapping[str, tuple[InterfacePlan, ...]]:
    """Return the interfaces of each node, in the order of the links."""
    found: dict[str, list[InterfacePlan]] = {node.name: [] for node in topology.nodes}
    for link in topology.links:
        for end in (link.a, link.b):
            written = {
                family: f"{address}/{SPACES[family].length}"
                for family, address in table[end].addresses.items()
            }
            found[end.node].append(
                InterfacePlan(
                    end.interface, link.name, written.get(4, ""), table[end].mac, link.mtu, written.get(6, "")
                )
            )
    return {name: tuple(interfaces) for name, interfaces in found.items()}


def _node(
    topology: Topology,
    node: Node,
    interfaces: tuple[InterfacePlan, ...],
    routes: tuple[RoutePlan, ...],
    family: int,
) -> NodePlan:
    identity = Identity(private_key(topology.seed, node.name))
    own = {
        4: next((found.ipv4.partition("/")[0] for found in interfaces if found.ipv4), ""),
        6: next((found.ipv6.partition("/")[0] for found in interfaces if found.ipv6), ""),
    }
    if not interfaces:
        own[family] = SPACES[family].loopback
    return NodePlan(
        name=node.name,
        kind=node.kind,
        private_key=identity.private_key,
        public_key=identity.public_key,
        address=identity.address,
        ipv4=own[4],
        port=PORT,
        interfaces=interfaces,
        routes=routes,
        nat=node.nat,
        ipv6=own[6],
        host=own[family] or own[4] or own[6],
        transport={name: node.transport[name] for name in _OF_SOCKETS if name in node.transport},
    )


def _outer_addresses(
    topology: Topology,
    nats: Sequence[Node],
    node: Node,
    table: Mapping[LinkEndpoint, InterfaceAddress],
    paths: Paths,
) -> tuple[str, ...]:
    """Return the outer addresses of the NAT routers that a host reaches from their inside."""
    found: list[str] = []
    for router in nats if node.nat is None else ():
        if router.nat is not None and (way := paths.links(node.name, router.name)):
            last = topology.links[way[-1]]
            outside = LinkEndpoint(router.name, router.nat.outside)
            if outside not in (last.a, last.b):
                found.append(table[outside].addresses[4])
    return tuple(found)


def _routes(
    topology: Topology,
    node: Node,
    table: Mapping[LinkEndpoint, InterfaceAddress],
    routes: Mapping[int, Routes],
) -> tuple[RoutePlan, ...]:
    """Return routes to all addresses that the node can reach and is not on a link with, by address."""
    found: list[RoutePlan] = []
    for family, known in routes.items():
        space = SPACES[family]
        for link, behind in known.of(node.name):
            via, interface = _exit(node, topology.links[link], table, family)
            if isinstance(behind, End):
                ends = topology.links[behind.link]
                end = ends.a if ends.a.node == behind.host else ends.b
                prefix = f"{table[end].addresses[family]}/{space.network.max_prefixlen}"
            elif behind.bits == EVERYWHERE:
                prefix = str(space.network)
            else:
                prefix = space.subnet(behind.first, behind.bits)
            found.append(RoutePlan(prefix, via, interface))
    return tuple(found)


def _exit(
    node: Node, link: Link, table: Mapping[LinkEndpoint, InterfaceAddress], family: int
) -> tuple[str, str]:
    """Return the address at the other end of a node's own link, and the node's interface on it."""
    own, other = (link.a, link.b) if link.a.node == node.name else (link.b, link.a)
    return table[other].addresses[family], own.interface


def _workload(topology: Topology, flow: WorkloadSpec, paths: Paths, family: int) -> WorkloadSpec:
    """Complete a flow: transport of its source's node below its own, datagrams that fit its path."""
    source = topology.node(flow.source)
    transport = effective_transport(source, flow)
    mtus = [topology.links[index].mtu for index in paths.links(flow.source, flow.target)]
    largest = min(mtus) - HEADER_BYTES[family]
    if transport.get("protocol") == "quic":
        transport.setdefault("max_datagram_size", min(largest, DEFAULT_DATAGRAM_BYTES))
    elif "protocol" in transport:
        pass  # the kernel sees to it
    elif "max_datagram_size" not in transport and largest < Configuration().max_datagram_size:
        transport["max_datagram_size"] = largest
    if transport.get("handshake") == "ik-psk2":
        transport["pre_shared_key"] = pre_shared_key(topology.seed, flow.source, flow.target).hex()
    options = dict(flow.options)
    if "file" not in options and "files" not in options:
        options.setdefault("seed", f"{topology.seed}/flow/{flow.name}")
    return dataclasses.replace(flow, options=options, transport=transport)


def effective_transport(source: Node, flow: WorkloadSpec) -> dict[str, object]:
    """Return a flow's transport settings, with its source node's below its own.

    What a node says of another protocol than the flow's does not hold for it. Strait goes without saying.
    """
    merged = {**source.transport, **flow.transport}
    protocol = merged.get("protocol", STRAIT)
    if protocol != source.transport.get("protocol", STRAIT):
        merged = dict(flow.transport)
    if protocol == STRAIT:
        merged.pop("protocol", None)
    return merged


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
        **({"labels": dict(plan.labels)} if plan.labels else {}),
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
        # Only where IPv6 is: what IPv4 alone makes has the digest that it always had.
        **({"ipv6": node.ipv6, "host": node.host} if node.ipv6 else {}),
        "interfaces": [_interface_to_json(interface) for interface in node.interfaces],
        "routes": [dataclasses.asdict(route) for route in node.routes],
        # Only where there is something to say, as for `qlog`.
        **({"other_addresses": list(node.other_addresses)} if node.other_addresses else {}),
        **({"outer_addresses": list(node.outer_addresses)} if node.outer_addresses else {}),
        **({"transport": dict(node.transport)} if node.transport else {}),
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


def _interface_to_json(interface: InterfacePlan) -> Mapping[str, object]:
    return {key: value for key, value in dataclasses.asdict(interface).items() if value or key != "ipv6"}


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
        **({"connections": flow.connections} if flow.connections > 1 else {}),
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
        # Only where there is something to say, as for `qlog`.
        **({"arguments": list(expectation.arguments)} if expectation.arguments else {}),
        **({"aggregate": expectation.aggregate} if expectation.aggregate else {}),
    }
