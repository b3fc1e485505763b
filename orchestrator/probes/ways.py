"""From an endpoint to the nodes that an active probe can send to: addresses and the next hop's MAC."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.errors import ProbeError
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan, InterfacePlan, NodePlan


def ways(
    plan: DeploymentPlan, endpoint: LinkEndpoint, *, probe: str
) -> Iterator[tuple[tuple[str, str], tuple[str, str], NodePlan]]:
    """Yield source, next hop's MAC and destination, and node for every node that has flows.

    Raises:
        ProbeError: the endpoint is not in the plan.
    """
    own = _interface(plan, endpoint, probe)
    link = plan.link(own.link)
    peer = _interface(plan, link.b if link.a == endpoint else link.a, probe)
    busy = {name for flow in plan.workloads for name in (flow.source, flow.target)}
    for node in plan.nodes:
        if node.name != endpoint.node and (node.name in busy or not busy):
            source, target = (own.ipv6, node.ipv6) if ":" in node.host else (own.ipv4, node.ipv4)
            yield (own.mac, source.partition("/")[0]), (peer.mac, target), node


def _interface(plan: DeploymentPlan, endpoint: LinkEndpoint, probe: str) -> InterfacePlan:
    for node in plan.nodes:
        for interface in node.interfaces:
            if (node.name, interface.name) == (endpoint.node, endpoint.interface):
                return interface
    raise ProbeError(f"{probe}: there is no {endpoint} in the plan")
