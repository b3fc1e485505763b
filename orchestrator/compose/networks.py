"""The networks of a Compose lab: each link is a Docker bridge, which wants an address for itself (pure).

A plan gives a link two addresses and no more. Docker puts a bridge's gateway into the same subnet, so the
subnet is widened until there is room behind the two: they stay what the plan says, and so do the captures.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from orchestrator.errors import BackendError
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan, InterfacePlan, LinkPlan

#: The longest prefix that holds two nodes and Docker's gateway.
LONGEST_PREFIX = 29


@dataclass(frozen=True, slots=True)
class LinkNetwork:
    """A link as a Docker network."""

    #: Name in the Compose file.
    name: str
    subnet: IPv4Network
    #: What Docker's bridge gets: the last address, which no node has.
    gateway: IPv4Address
    mtu: int


def interface_of(plan: DeploymentPlan, endpoint: LinkEndpoint) -> InterfacePlan:
    """Return the planned interface that is an end of a link (KeyError if there is none)."""
    for interface in plan.node(endpoint.node).interfaces:
        if interface.name == endpoint.interface:
            return interface
    raise KeyError(str(endpoint))


def address_of(plan: DeploymentPlan, endpoint: LinkEndpoint) -> str:
    """Return the planned address of an end of a link, without prefix length."""
    return str(IPv4Interface(interface_of(plan, endpoint).ipv4).ip)


def link_networks(plan: DeploymentPlan) -> dict[str, LinkNetwork]:
    """Return the network of each link, by the link's name.

    Raises:
        BackendError: two links' networks would overlap once Docker's gateway is in them.
    """
    networks: dict[str, LinkNetwork] = {}
    for link in plan.links:
        network = _network(plan, link)
        for name, other in networks.items():
            if network.subnet.overlaps(other.subnet):
                raise BackendError(
                    f"links {name} and {link.name}: Docker needs an address of its own in each network, "
                    f"and with it {other.subnet} and {network.subnet} overlap; leave room between them"
                )
        networks[link.name] = network
    return networks


def _network(plan: DeploymentPlan, link: LinkPlan) -> LinkNetwork:
    subnet = IPv4Interface(interface_of(plan, link.a).ipv4).network
    if subnet.prefixlen > LONGEST_PREFIX:
        subnet = subnet.supernet(new_prefix=LONGEST_PREFIX)
    return LinkNetwork(
        name=f"link{link.index}-{link.a.node}-{link.b.node}",
        subnet=subnet,
        gateway=subnet.broadcast_address - 1,
        mtu=link.mtu,
    )
