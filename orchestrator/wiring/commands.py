"""Plan → the lines that `ip -batch` reads, and the kernel settings of each namespace (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan, InterfacePlan, LinkPlan, NodePlan

#: The two interfaces inside a link namespace, towards the nodes a and b of the link, and what joins them.
DEVICE_A = "a"
DEVICE_B = "b"
BRIDGE = "join"
#: Packets a veth may hold while a qdisc is put on it; it counts for pfifo children too.
_QUEUE_LENGTH = "1000"
#: Of the nodes' interfaces: none has the index of its peer, which the kernel counts from 1 in a namespace
#: of its own. Where both are the same, it takes the interface for one without a peer (linkwatch_urgent_event
#: in net/core/link_watch.c), and follows its carrier up to a second late: at each start, and at each cut.
_FIRST_INDEX = 1_000_000_000

Line = tuple[str, ...]


def namespace_lines(names: Iterable[str]) -> list[Line]:
    """Return the commands that make network namespaces."""
    return [("netns", "add", name) for name in names]


def veth_lines(link: LinkPlan, plan: DeploymentPlan, *, a: Path, middle: Path, b: Path) -> list[Line]:
    """Return the commands that make both veth pairs of a link, each end in its namespace at once.

    Args:
        a: path of the namespace of the link's node a.
        middle: of the link namespace.
        b: of the link's node b.
    """
    pairs = ((link.a, a, DEVICE_A), (link.b, b, DEVICE_B))
    first = _FIRST_INDEX + 2 * link.index
    return [
        (
            *("link", "add", "name", endpoint.interface, "index", str(index), "netns", str(namespace)),
            *("address", interface_plan(plan, endpoint).mac, "mtu", str(link.mtu)),
            *("txqueuelen", _QUEUE_LENGTH, "type", "veth"),
            *("peer", "name", device, "netns", str(middle)),
            *("mtu", str(link.mtu), "txqueuelen", _QUEUE_LENGTH),
        )
        for index, (endpoint, namespace, device) in enumerate(pairs, start=first)
    ]


def node_lines(node: NodePlan, plan: DeploymentPlan) -> list[Line]:
    """Return the commands that bring up a node's interfaces, addresses, neighbours and routes."""
    lines: list[Line] = [("link", "set", "dev", "lo", "up")]
    for interface in node.interfaces:
        lines += interface_lines(node, interface, plan)
    return lines + route_lines(node)


def interface_lines(node: NodePlan, interface: InterfacePlan, plan: DeploymentPlan) -> list[Line]:
    """Return the commands that bring up one interface of a node, with addresses and neighbours."""
    lines: list[Line] = []
    more = [f"{host}/{128 if ':' in host else 32}" for host in node.other_addresses]
    for address in (*interface.addresses, *(more if interface is node.interfaces[0] else ())):
        # Known at once: duplicate address detection would take a second and put packets on the wire.
        nodad = ("nodad",) if ":" in address else ()
        lines.append(("address", "add", address, "dev", interface.name, *nodad))
    lines.append(("link", "set", "dev", interface.name, "up"))
    peer = _far_end(plan, node, interface)
    # Static: on a lossy link neighbour discovery alone can take seconds, and the simulator has none.
    lines.extend(
        ("neigh", "replace", host, "lladdr", peer.mac, "dev", interface.name, "nud", "permanent")
        for host in peer.hosts
    )
    return lines


def route_lines(node: NodePlan) -> list[Line]:
    """Return the commands that set a node's routes."""
    return [
        ("route", "replace", route.prefix, "via", route.via, "dev", route.interface) for route in node.routes
    ]


def stale_route_lines(old: NodePlan, new: NodePlan) -> list[Line]:
    """Return the commands that take out the routes that a node has no more."""
    kept = {route.prefix for route in new.routes}
    return [
        ("route", "delete", route.prefix, "via", route.via, "dev", route.interface)
        for route in old.routes
        if route.prefix not in kept
    ]


def link_up_lines() -> list[Line]:
    """Return the commands that bring up the two interfaces of a link namespace."""
    return [("link", "set", "dev", device, "up") for device in (DEVICE_A, DEVICE_B)]


def join_lines() -> list[Line]:
    """Return the commands that join the two interfaces in the kernel, as a hub of two ports does."""
    return [
        # Ageing 0: it never learns, so whatever is injected with whatever address passes; no delay
        # before it forwards, nothing of its own on the wire.
        (
            *("link", "add", "name", BRIDGE, "type", "bridge", "stp_state", "0"),
            *("forward_delay", "0", "ageing_time", "0", "mcast_snooping", "0"),
        ),
        ("link", "set", "dev", DEVICE_A, "master", BRIDGE),
        ("link", "set", "dev", DEVICE_B, "master", BRIDGE),
        ("link", "set", "dev", BRIDGE, "up"),
    ]


def part_lines() -> list[Line]:
    """Return the commands that undo ``join_lines``."""
    return [("link", "delete", "dev", BRIDGE)]


def node_settings(node: NodePlan) -> Mapping[str, str]:
    """Return the kernel settings of a node's namespace, as path below /proc/sys → value."""
    forward = "1" if node.kind.forwards else "0"
    return {
        **(_ipv6_settings(forward) if node.ipv6 else _SILENCE),
        "net/ipv4/ip_forward": forward,
        # Paths may be asymmetric; a lab shows what is sent, it does not filter.
        "net/ipv4/conf/all/rp_filter": "0",
        "net/ipv4/conf/default/rp_filter": "0",
        # A router that says "use the other way" would change the routes that were planned.
        "net/ipv4/conf/all/send_redirects": "0",
        "net/ipv4/conf/default/send_redirects": "0",
        "net/ipv4/conf/all/accept_redirects": "0",
        "net/ipv4/conf/default/accept_redirects": "0",
        "net/ipv4/ping_group_range": "0 2147483647",
    }


def _ipv6_settings(forward: str) -> Mapping[str, str]:
    """Return what makes IPv6 do what the plan says, and say nothing by itself."""
    each: Mapping[str, str] = {
        "disable_ipv6": "0",
        # No addresses but the plan's: not even link-local ones.
        "addr_gen_mode": "1",
        "accept_ra": "0",
        "autoconf": "0",
        "accept_dad": "0",
        "dad_transmits": "0",
        "router_solicitations": "0",
        "accept_redirects": "0",
    }
    settings = {
        f"net/ipv6/conf/{of}/{name}": value for of in ("all", "default") for name, value in each.items()
    }
    return {**settings, "net/ipv6/conf/all/forwarding": forward}


def link_settings() -> Mapping[str, str]:
    """Return the kernel settings of a link namespace."""
    return {
        **_SILENCE,
        # What crosses the bridge is not for any firewall; on kernels before 5.3 this is not ours to set.
        "net/bridge/bridge-nf-call-iptables": "0",
        "net/bridge/bridge-nf-call-ip6tables": "0",
        "net/bridge/bridge-nf-call-arptables": "0",
    }


def interface_plan(plan: DeploymentPlan, endpoint: LinkEndpoint) -> InterfacePlan:
    """Return the interface at an endpoint (KeyError if there is none)."""
    for interface in plan.node(endpoint.node).interfaces:
        if interface.name == endpoint.interface:
            return interface
    raise KeyError(str(endpoint))


#: No router solicitations, no multicast listener reports: only what the lab sends is on the wire.
_SILENCE = {
    "net/ipv6/conf/all/disable_ipv6": "1",
    "net/ipv6/conf/default/disable_ipv6": "1",
}


def _far_end(plan: DeploymentPlan, node: NodePlan, interface: InterfacePlan) -> InterfacePlan:
    link = plan.link(interface.link)
    here = (node.name, interface.name)
    far = link.b if (link.a.node, link.a.interface) == here else link.a
    return interface_plan(plan, far)
