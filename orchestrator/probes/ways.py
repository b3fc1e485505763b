"""What active probes share: whom they can send to from an endpoint, and at what pace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from node.protocol.time import SECOND, Duration
from orchestrator.backends.base import Deployment
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
    own = interface_at(plan, endpoint, probe=probe)
    link = plan.link(own.link)
    peer = interface_at(plan, link.b if link.a == endpoint else link.a, probe=probe)
    busy = {name for flow in plan.workloads for name in (flow.source, flow.target)}
    for node in plan.nodes:
        if node.name != endpoint.node and (node.name in busy or not busy):
            source, target = (own.ipv6, node.ipv6) if ":" in node.host else (own.ipv4, node.ipv4)
            yield (own.mac, source.partition("/")[0]), (peer.mac, target), node


def targets(
    plan: DeploymentPlan, endpoint: LinkEndpoint, *, probe: str
) -> list[tuple[tuple[str, str], tuple[str, str], NodePlan]]:
    """Return the ``ways`` (ProbeError: there is no such endpoint, or nobody to send to)."""
    found = list(ways(plan, endpoint, probe=probe))
    if not found:
        raise ProbeError(f"{probe}: no other node to send to from {endpoint}")
    return found


async def paced(deployment: Deployment, duration: Duration, rate: int) -> AsyncIterator[int]:
    """Yield 0, 1, 2 … at ``rate`` a second of the lab's clock, for ``duration`` ns.

    Against the plan, not against the last one: what one took too long the next makes up for.
    """
    step, start, count = SECOND // rate, deployment.now(), 0
    while deployment.now() - start < duration:
        yield count
        count += 1
        ahead = start + count * step - deployment.now()
        if ahead > 0:
            await deployment.sleep(ahead)


def interface_at(plan: DeploymentPlan, endpoint: LinkEndpoint, *, probe: str) -> InterfacePlan:
    """Return the interface (ProbeError: it is not in the plan)."""
    for node in plan.nodes:
        for interface in node.interfaces:
            if (node.name, interface.name) == (endpoint.node, endpoint.interface):
                return interface
    raise ProbeError(f"{probe}: there is no {endpoint} in the plan")
