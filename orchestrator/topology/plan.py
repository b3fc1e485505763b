"""The deployment plan: everything a back end must create, as data, in order (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from node.links.settings import Impairments
from node.protocol.time import Duration
from orchestrator.topology.model import Expectation, LinkEndpoint, Nat, NodeKind, TimelineEvent, WorkloadSpec

#: From so many hosts on, a node is told only of those that it has flows with: all pairs would be millions.
MANY_HOSTS = 500


@dataclass(frozen=True, slots=True)
class InterfacePlan:
    """An interface inside a node."""

    #: Name in the node: ``eth1``.
    name: str
    #: Name of the link it ends.
    link: str
    #: Address with prefix length: ``10.0.0.1/30``; empty if IPv4 does not cross the link.
    ipv4: str
    mac: str
    mtu: int
    #: Address with prefix length: ``fd6e:6172:726f::1/64``; empty if IPv6 does not cross the link.
    ipv6: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the addresses with their prefix lengths, IPv4 first."""
        return tuple(address for address in (self.ipv4, self.ipv6) if address)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the addresses alone."""
        return tuple(address.partition("/")[0] for address in self.addresses)


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
    #: The IPv4 address of its first interface that has one; empty if none has.
    ipv4: str
    port: int
    interfaces: tuple[InterfacePlan, ...]
    routes: tuple[RoutePlan, ...]
    #: What it does as a NAT router; None: it is none.
    nat: Nat | None = None
    #: More addresses, on its first interface, for its socket to move to.
    other_addresses: tuple[str, ...] = ()
    #: The IPv6 address of its first interface that has one; empty if none has.
    ipv6: str = ""
    #: Where peers reach this node's socket: the one of its addresses that the lab's flows use.
    host: str = ""
    #: Outer addresses of the NAT routers that it is behind: what the outside sees of it.
    outer_addresses: tuple[str, ...] = ()
    #: Transport settings that hold before a flow is known: of the socket, not of a connection.
    transport: Mapping[str, object] = field(default_factory=dict)

    @property
    def all_addresses(self) -> tuple[str, ...]:
        """Every IP address that packets of this node may have, on one link or another."""
        own = (host for interface in self.interfaces for host in interface.hosts)
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
    #: Marks to find the lab by.
    labels: Mapping[str, str] = field(default_factory=dict)

    _nodes: Mapping[str, NodePlan] = field(init=False, repr=False, compare=False)
    _links: Mapping[str, LinkPlan] = field(init=False, repr=False, compare=False)
    _hosts: tuple[NodePlan, ...] = field(init=False, repr=False, compare=False)
    #: Node → those that it has flows with.
    _partners: Mapping[str, set[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep nodes and links by name: a lab may have ten thousand."""
        object.__setattr__(self, "_nodes", {node.name: node for node in self.nodes})
        object.__setattr__(self, "_links", {link.name: link for link in self.links})
        hosts = tuple(node for node in self.nodes if node.kind is NodeKind.HOST)
        object.__setattr__(self, "_hosts", hosts)
        partners: dict[str, set[str]] = {}
        for flow in self.workloads:
            partners.setdefault(flow.source, set()).add(flow.target)
            partners.setdefault(flow.target, set()).add(flow.source)
        object.__setattr__(self, "_partners", partners)

    def node(self, name: str) -> NodePlan:
        """Return the node called ``name`` (KeyError if there is none)."""
        return self._nodes[name]

    def link(self, name: str) -> LinkPlan:
        """Return the link called ``name`` (KeyError if there is none)."""
        return self._links[name]

    def peers_of(self, name: str) -> list[NodePlan]:
        """Return the hosts that a node knows: all others, in a large lab those that it has flows with."""
        if len(self._hosts) < MANY_HOSTS:
            return [node for node in self._hosts if node.name != name]
        return [self._nodes[peer] for peer in sorted(self._partners.get(name, ())) if peer != name]

    def to_json(self) -> Mapping[str, object]:
        """Return the plan as JSON-able data, for printing, digests and golden tests."""
        from orchestrator.topology.planning import plan_to_json

        return plan_to_json(self)
