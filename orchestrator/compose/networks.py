"""How a plan's links are called in a Compose lab (pure).

Docker gives each of its networks a subnet of its own choice and takes an address of it for itself. A plan's
links have no room for that, and a plan's addresses must not become routes of the user's own machine. So the
networks are Docker's, used as plain wires: agents put the plan's addresses on top, and find a link's device
by the alias that they alone have on it.
"""

from __future__ import annotations

from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan, InterfacePlan, LinkPlan


def network_name(link: LinkPlan) -> str:
    """Return what a link's network is called in the Compose file."""
    return f"link{link.index}-{link.a.node}-{link.b.node}"


def alias(endpoint: LinkEndpoint) -> str:
    """Return the name that resolves to an end of a link, on its network only."""
    return f"{endpoint.node}.{endpoint.interface}"


def endpoints_of(plan: DeploymentPlan, node: str) -> list[tuple[LinkPlan, LinkEndpoint]]:
    """Return the links of a node with its end of each, in the order of the plan."""
    return [(link, endpoint) for link in plan.links for endpoint in (link.a, link.b) if endpoint.node == node]


def interface_of(plan: DeploymentPlan, endpoint: LinkEndpoint) -> InterfacePlan:
    """Return the planned interface that is an end of a link (KeyError if there is none)."""
    for interface in plan.node(endpoint.node).interfaces:
        if interface.name == endpoint.interface:
            return interface
    raise KeyError(str(endpoint))
