"""The deployment plan: everything a back end must create, as data, in order (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from node.links.settings import Impairments
from node.protocol.time import Duration
from orchestrator.topology.model import Expectation, LinkEndpoint, Nat, NodeKind, TimelineEvent, WorkloadSpec


@dataclass(frozen=True, slots=True)
class InterfacePlan:
    """An interface inside a node."""

    #: Name in the node: ``eth1``.
    name: str
    #: Name of the link it ends.
    link: str
    #: Address with prefix length: ``10.0.0.1/30``.
    ipv4: str
    mac: str
    mtu: int


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """A static route."""

    prefix: str
    via: str
    interface: str


@dataclass(frozen=True, slots=True)
class NodePlan:
    """A node to be made."""

    name: str
    kind: NodeKind
    #: 32 raw bytes of X25519 private key, derived from seed and name.
    private_key: bytes
    public_key: bytes
    #: The 64-bit Strait address.
    address: int
    #: Where peers reach this node's socket: the address of its first interface.
    ipv4: str
    port: int
    interfaces: tuple[InterfacePlan, ...]
    routes: tuple[RoutePlan, ...]
    #: What it does as a NAT router; None: it is none.
    nat: Nat | None = None
    #: More addresses, on its first interface, for its socket to move to.
    other_addresses: tuple[str, ...] = ()
    #: Outer addresses of the NAT routers that it is behind: what the outside sees of it.
    outer_addresses: tuple[str, ...] = ()

    @property
    def all_addresses(self) -> tuple[str, ...]:
        """Every IP address that packets of this node may have, on one link or another."""
        own = (interface.ipv4.partition("/")[0] for interface in self.interfaces)
        return (*own, *self.other_addresses, *self.outer_addresses)


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """A link to be made: a link namespace in the middle, impairments on its egress each way."""

    name: str
    #: Position in the plan, from 0: short and unique, for interface and namespace names.
    index: int
    a: LinkEndpoint
    b: LinkEndpoint
    forward: Impairments
    reverse: Impairments
    mtu: int


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """What a back end makes, and what runs on it."""

    name: str
    seed: int
    nodes: tuple[NodePlan, ...]
    links: tuple[LinkPlan, ...]
    workloads: tuple[WorkloadSpec, ...]
    expectations: tuple[Expectation, ...]
    time_limit: Duration
    #: Whether the nodes write a qlog file of each connection.
    qlog: bool = False
    #: What happens to the lab meanwhile, in the order of the file.
    timeline: tuple[TimelineEvent, ...] = ()

    def node(self, name: str) -> NodePlan:
        """Return the node called ``name`` (KeyError if there is none)."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def link(self, name: str) -> LinkPlan:
        """Return the link called ``name`` (KeyError if there is none)."""
        for link in self.links:
            if link.name == name:
                return link
        raise KeyError(name)

    def to_json(self) -> Mapping[str, object]:
        """Return the plan as JSON-able data, for printing, digests and golden tests."""
        from orchestrator.topology.planning import plan_to_json

        return plan_to_json(self)
