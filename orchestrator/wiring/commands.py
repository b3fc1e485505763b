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
    return [
        (
            *("link", "add", "name", endpoint.interface, "netns", str(namespace)),
            *("address", interface_plan(plan, endpoint).mac, "mtu", str(link.mtu)),
            *("txqueuelen", _QUEUE_LENGTH, "type", "veth"),
            *("peer", "name", device, "netns", str(middle)),
            *("mtu", str(link.mtu), "txqueuelen", _QUEUE_LENGTH),
        )
        for endpoint, namespace, device in pairs
    ]


def node_lines(node: NodePlan, plan: DeploymentPlan) -> list[Line]:
    """Return the commands that bring up a node's interfaces, addresses, neighbours and routes."""
    lines: list[Line] = [("link", "set", "dev", "lo", "up")]
    for interface in node.interfaces:
        lines.append(("address", "add", interface.ipv4, "dev", interface.name))
        if interface is node.interfaces[0]:
            lines.extend(
                ("address", "add", f"{address}/32", "dev", interface.name) for address in node.other_addresses
            )
        lines.append(("link", "set", "dev", interface.name, "up"))
        peer = _far_end(plan, node, interface)
        # Static: on a lossy link ARP alone can take seconds, and the simulator has none.
        address = peer.ipv4.partition("/")[0]
        lines.append(
            ("neigh", "replace", address, "lladdr", peer.mac, "dev", interface.name, "nud", "permanent")
        )
    lines.extend(
        ("route", "replace", route.prefix, "via", route.via, "dev", route.interface) for route in node.routes
    )
    return lines


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
        **_SILENCE,
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
