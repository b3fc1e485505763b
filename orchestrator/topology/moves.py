"""More addresses for nodes whose sockets move to another one, and the routes to these (pure).

A node gets them where its timeline moves it by address: they are on its first interface, outside of all
links' subnets, so that every other node needs a route to each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from orchestrator.topology.model import TimelineEvent
from orchestrator.topology.plan import NodePlan, RoutePlan

#: Shared address space (RFC 6598): neither a link's subnet nor a container's network is there.
ADDRESSES = IPv4Network("100.64.0.0/10")
#: Beside the links' subnets, for labs whose flows use IPv6.
ADDRESSES_IPV6 = IPv6Network("fd6e:6172:7270::/64")
#: Other addresses of one node; a node that moves more often takes them in turn.
MAX_ADDRESSES = 4
_MOVES = ("rebind", "migrate")


def with_other_addresses(
    nodes: Sequence[NodePlan], timeline: Iterable[TimelineEvent]
) -> tuple[NodePlan, ...]:
    """Return the nodes, those that move by address with others to move to, and all with routes to them."""
    wanted: dict[str, int] = {}
    for event in timeline:
        if event.action in _MOVES and isinstance(event.value, Mapping) and event.value.get("address"):
            times = 1 if event.every is None else event.count or MAX_ADDRESSES
            name = str(event.value["node"])
            wanted[name] = min(MAX_ADDRESSES, wanted.get(name, 0) + times)
    if not wanted:
        return tuple(nodes)
    others = {
        node.name: tuple(_address(node, index, number) for number in range(wanted.get(node.name, 0)))
        for index, node in enumerate(nodes)
    }
    movers = [node for node in nodes if others[node.name]]
    return tuple(
        dataclasses.replace(
            node,
            other_addresses=others[node.name],
            routes=(
                *node.routes,
                *(
                    RoutePlan(f"{address}/{128 if ':' in address else 32}", *exit_)
                    for mover in movers
                    if mover is not node and (exit_ := _exit(node, mover.host)) is not None
                    for address in others[mover.name]
                ),
            ),
        )
        for node in nodes
    )


def _address(node: NodePlan, index: int, number: int) -> str:
    space = ADDRESSES_IPV6 if ":" in node.host else ADDRESSES
    return str(space.network_address + 1 + index * MAX_ADDRESSES + number)


def _exit(node: NodePlan, address: str) -> tuple[str, str] | None:
    """Return gateway and interface by which a node reaches an address; None: it does not."""
    wanted = ip_address(address)
    for interface in node.interfaces:
        if any(wanted in ip_network(own, strict=False) for own in interface.addresses):
            return address, interface.name
    ways = [route for route in node.routes if wanted in ip_network(route.prefix)]
    if not ways:
        return None
    best = max(ways, key=lambda route: ip_network(route.prefix).prefixlen)
    return best.via, best.interface
