"""What a node's container is made with, and cannot be given later: its image, its capabilities, IPv6."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.carried.tcp_connection import DEFAULT_CONTROLLER
from orchestrator.images import IMAGE_LABEL, NODE_IMAGE, NODE_QUIC_IMAGE
from orchestrator.topology.plan import DeploymentPlan

#: What sockets of anybody may use, of the whole machine; the rest takes CAP_NET_ADMIN (tcp(7)).
_ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
_IPV6 = "net.ipv6.ip_nonlocal_bind"


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a container has, or must have."""

    #: Name of its image.
    image: str
    #: Without ``CAP_``.
    capabilities: frozenset[str]
    #: Whether its network has IPv6.
    ipv6: bool

    @classmethod
    def needed(cls, plan: DeploymentPlan, node: str) -> Equipment:
        """Return what a node's addresses, and the flows at it, need of it."""
        here = {
            flow.transport.get("protocol") for flow in plan.workloads if node in (flow.source, flow.target)
        }
        return cls(_image_for(here), frozenset(capabilities(plan, node)), bool(plan.node(node).ipv6))

    @classmethod
    def given(cls, plan: DeploymentPlan, node: str) -> Equipment:
        """Return what a container that is made now has: all of a lab run one image."""
        return cls(image_of(plan), frozenset(capabilities(plan, node)), bool(plan.node(node).ipv6))

    @classmethod
    def of(cls, container: Mapping[str, Any]) -> Equipment:
        """Return what a container has, as the engine's inspection of it says."""
        added = container["HostConfig"]["CapAdd"] or ()
        return cls(
            container["Config"]["Labels"].get(IMAGE_LABEL, NODE_IMAGE),
            frozenset(name.removeprefix("CAP_") for name in added),
            _IPV6 in (container["HostConfig"]["Sysctls"] or {}),
        )

    def serves(self, needed: Equipment) -> bool:
        """Return whether it is enough: what is more does no harm."""
        has_image = self.image in (needed.image, NODE_QUIC_IMAGE)
        return has_image and self.capabilities >= needed.capabilities and self.ipv6 >= needed.ipv6

    @property
    def sysctls(self) -> dict[str, str]:
        """Settings of its network: the agent binds to the address that the wiring gives the node later.

        The engine lets a container have no IPv6 unless one of these is about it.
        """
        return {"net.ipv4.ip_nonlocal_bind": "1", **({_IPV6: "1"} if self.ipv6 else {})}

    def __str__(self) -> str:
        """Return it as a difference shows it."""
        more = [*sorted(self.capabilities), *(["IPv6"] if self.ipv6 else [])]
        return " ".join([self.image, *(f"+{name}" for name in more)])


def image_of(plan: DeploymentPlan) -> str:
    """Return the name of the image that containers of a lab are made of."""
    return _image_for({flow.transport.get("protocol") for flow in plan.workloads})


def _image_for(protocols: set[object]) -> str:
    return NODE_QUIC_IMAGE if "quic" in protocols else NODE_IMAGE


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
