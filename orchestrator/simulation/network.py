"""The simulated network: nodes with interfaces and static routes, joined by links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from random import Random
from types import MappingProxyType

from node.links.fates import Fates
from node.protocol.datagrams import SocketAddress
from orchestrator.simulation.link import LinkDirection
from orchestrator.simulation.nat import NatTable
from orchestrator.simulation.packet import ETHERNET_BYTES, Packet, from_frame, injected
from orchestrator.simulation.scheduler import Scheduler
from orchestrator.topology.model import LinkEndpoint, Nat, NatPorts
from orchestrator.topology.plan import DeploymentPlan, InterfacePlan, LinkPlan, NodePlan


@dataclass(slots=True)
class Interface:
    """An interface of a simulated node."""

    plan: InterfacePlan
    #: What leaves here; set when its link is made.
    out: LinkDirection | None = field(default=None)


class Station:
    """A node's network stack: interfaces, routes, forwarding if it is a router, delivery to its socket."""

    def __init__(self, plan: NodePlan, scheduler: Scheduler, *, seed: int = 0) -> None:
        self.plan = plan
        self.interfaces = {interface.name: Interface(interface) for interface in plan.interfaces}
        #: Takes packets for this node; None: nothing listens, they are dropped.
        self.deliver: Callable[[Packet], None] | None = None
        #: Whether the node is on; one that is not neither forwards nor receives.
        self.up = True
        #: Packets dropped here, by reason.
        self.drops: Counter[str] = Counter()
        self._scheduler = scheduler
        self._forwards = plan.kind.forwards
        self._addresses = {host for interface in plan.interfaces for host in interface.hosts}
        self._addresses.update(plan.other_addresses)
        #: Made when first needed: most of ten thousand nodes never send anything.
        self._routes: list[tuple[IPv4Network | IPv6Network, str]] | None = None
        # Destinations looked up so far; an address seen costs one dictionary access from then on.
        self._next: dict[str, Interface | None] = {}
        #: Where its socket listens; a host's may move.
        self.listen: SocketAddress = (plan.host, plan.port)
        #: Takes packets for other ports of this node.
        self.sockets: dict[int, Callable[[Packet], None]] = {}
        #: What it translates as a NAT router; None: it is none.
        self.nat = None if plan.nat is None else _nat_table(plan, plan.nat, seed)
        self._outside = "" if plan.nat is None else plan.nat.outside

    def send(self, packet: Packet) -> None:
        """Send a packet of this node's own."""
        destination = packet.destination[0]
        if destination in self._addresses:
            self._scheduler.at(self._scheduler.now, self._deliver, packet)
        else:
            self._route(packet)

    def receive(self, packet: Packet) -> None:
        """Take a packet that arrived over a link."""
        if not self.up:
            self.drops["node is down"] += 1
            return
        if packet.frame is not None or packet.damaged_bit is not None:
            found = (
                None if packet.damaged_bit is not None or packet.frame is None else from_frame(packet.frame)
            )
            if found is None:
                self.drops["not a valid packet"] += 1
                return
            packet = found
        self._take(packet)

    def receive_outside(self, packet: Packet) -> None:
        """Take a packet that arrived at the outside of this NAT router: only what answers gets in."""
        assert self.nat is not None, "only NAT routers have an outside"
        if packet.frame is not None or packet.damaged_bit is not None or not self.up:
            # Damaged, injected or for a router that is off: dropped as anywhere, but for what is whole.
            found = from_frame(packet.frame) if packet.frame is not None and self.up else None
            if found is None:
                self.receive(packet)
                return
            packet = found
        inner = None
        if packet.destination[0] == self.nat.outer:
            inner = self.nat.inward(packet.source, packet.destination[1], now=self._scheduler.now)
        if inner is None:
            self.drops["no mapping"] += 1
        else:
            self._take(packet.translated(destination=inner))

    def _take(self, packet: Packet) -> None:
        if packet.destination[0] in self._addresses:
            self._deliver(packet)
        elif not self._forwards:
            self.drops["not for this host"] += 1
        elif packet.ttl <= 1:
            self.drops["time to live exceeded"] += 1
        else:
            self._route(packet.forwarded())

    def _deliver(self, packet: Packet) -> None:
        port = packet.destination[1]
        if port not in self.sockets and (self.deliver is None or packet.destination != self.listen):
            self.drops["no socket"] += 1
            return
        if port in self.sockets:
            self.sockets[port](packet)
        elif self.deliver is not None:
            self.deliver(packet)

    def _route(self, packet: Packet) -> None:
        destination = packet.destination[0]
        try:
            interface = self._next[destination]
        except KeyError:
            interface = self._next[destination] = self._look_up(destination)
        if interface is None or interface.out is None:
            self.drops["no route"] += 1
        elif packet.size - ETHERNET_BYTES > interface.plan.mtu:
            self.drops["longer than the MTU"] += 1
        elif self.nat is None or interface.plan.name != self._outside:
            interface.out.send(packet)
        else:
            source = self.nat.outward(packet.source, packet.destination, now=self._scheduler.now)
            if source is None:
                self.drops["no port for a mapping"] += 1
            else:
                interface.out.send(packet.translated(source=source))

    def _look_up(self, destination: str) -> Interface | None:
        address = ip_address(destination)
        if self._routes is None:
            self._routes = _routing_table(self.plan)
        for network, interface in self._routes:
            if address in network:
                return self.interfaces[interface]
        return None


def _nat_table(plan: NodePlan, nat: Nat, seed: int) -> NatTable:
    outer = next(found.ipv4 for found in plan.interfaces if found.name == nat.outside).partition("/")[0]
    return NatTable(
        outer,
        timeout=nat.timeout,
        random_ports=nat.ports is NatPorts.RANDOM,
        rng=Random(f"{seed}/nat/{plan.name}"),
    )


def _routing_table(plan: NodePlan) -> list[tuple[IPv4Network | IPv6Network, str]]:
    """Return (prefix, interface), the longest prefix first."""
    connected = [
        (ip_network(address, strict=False), found.name)
        for found in plan.interfaces
        for address in found.addresses
    ]
    static = [(ip_network(route.prefix), route.interface) for route in plan.routes]
    return sorted(connected + static, key=lambda entry: -entry[0].prefixlen)


class Network:
    """All stations and links of a plan.

    Args:
        fates: what becomes of packets by number, by the end that sends, where that was recorded.
    """

    def __init__(
        self,
        plan: DeploymentPlan,
        scheduler: Scheduler,
        *,
        fates: Mapping[LinkEndpoint, Fates] = MappingProxyType({}),
    ) -> None:
        self._fates = fates
        self.scheduler = scheduler
        self.stations: Mapping[str, Station] = {
            node.name: Station(node, scheduler, seed=plan.seed) for node in plan.nodes
        }
        #: What leaves an endpoint, by endpoint.
        self.directions: dict[LinkEndpoint, LinkDirection] = {}
        for link in plan.links:
            self._join(link, plan.seed)

    def inject(self, endpoint: LinkEndpoint, frame: bytes) -> None:
        """Put an Ethernet frame on the link as if ``endpoint`` had sent it now (KeyError: there is none)."""
        self.directions[endpoint].send(injected(frame))

    def _join(self, link: LinkPlan, seed: int) -> None:
        ways = ((link.a, link.b, link.forward), (link.b, link.a, link.reverse))
        for source, target, impairments in ways:
            station = self.stations[target.node]
            nat = station.plan.nat
            direction = LinkDirection(
                f"{source}->{target}",
                impairments,
                seed=seed,
                scheduler=self.scheduler,
                fates=self._fates.get(source),
                receive=(
                    station.receive_outside
                    if nat is not None and nat.outside == target.interface
                    else station.receive
                ),
            )
            self.directions[source] = direction
            self.stations[source.node].interfaces[source.interface].out = direction
