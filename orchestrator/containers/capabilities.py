"""The capabilities of a node's container: none, but for a flow that the kernel would refuse without."""

from __future__ import annotations

from pathlib import Path

from node.carried.tcp_connection import DEFAULT_CONTROLLER
from orchestrator.topology.plan import DeploymentPlan

#: What sockets of anybody may use, of the whole machine; the rest takes CAP_NET_ADMIN (tcp(7)).
_ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")


def capabilities(plan: DeploymentPlan, node: str) -> list[str]:
    """Return what a node's container is given beside nothing.

    It may administer its own network if a flow of it asks for a congestion controller of TCP that the kernel
    lets nobody else use. Letting all use it would change the machine: that list is not a namespace's.
    """
    allowed = _ALLOWED.read_text(encoding="ascii").split()
    asked = {
        str(flow.transport.get("congestion", DEFAULT_CONTROLLER))
        for flow in plan.workloads
        if node in (flow.source, flow.target) and flow.transport.get("protocol") == "tcp"
    }
    return ["NET_ADMIN"] if asked.difference(allowed) else []
