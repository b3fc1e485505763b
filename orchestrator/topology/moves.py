"""More addresses for nodes whose sockets move to another one, and the routes to these (pure).

A node gets them where its timeline moves it by address: they are on its first interface, outside of all
links' subnets, so that every other node needs a route to each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

from orchestrator.topology.model import TimelineEvent
from orchestrator.topology.plan import NodePlan, RoutePlan

#: Shared address space (RFC 6598): neither a link's subnet nor a container's network is there.
ADDRESSES = IPv4Network("100.64.0.0/10")
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
        # IPv4 only: a node whose flows use IPv6 has none, and is told so when it is to move.
        node.name: tuple(_address(index, number) for number in range(wanted.get(node.name, 0)))
        if node.host in ("", node.ipv4)
        else ()
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
                    RoutePlan(f"{address}/32", *exit_)
                    for mover in movers
                    if mover is not node and (exit_ := _exit(node, mover.ipv4)) is not None
                    for address in others[mover.name]
                ),
            ),
        )
        for node in nodes
    )


def _address(index: int, number: int) -> str:
    return str(ADDRESSES.network_address + 1 + index * MAX_ADDRESSES + number)


def _exit(node: NodePlan, address: str) -> tuple[str, str] | None:
    """Return gateway and interface by which a node reaches an address; None: it does not."""
    for interface in node.interfaces:
        if interface.ipv4 and IPv4Address(address) in IPv4Network(interface.ipv4, strict=False):
            return address, interface.name
    routes = [route for route in node.routes if ":" not in route.prefix]
    ways = [route for route in routes if IPv4Address(address) in IPv4Network(route.prefix)]
    if not ways:
        return None
    best = max(ways, key=lambda route: IPv4Network(route.prefix).prefixlen)
    return best.via, best.interface
