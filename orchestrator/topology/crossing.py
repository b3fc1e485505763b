"""Which links the flows of a plan cross: found by following its routes, as packets do."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from orchestrator.topology.plan import DeploymentPlan, NodePlan
from orchestrator.topology.routing import MAX_LINKS

#: Bits of an IP address → bits of a prefix → prefix → interface.
_Table = dict[int, dict[int, dict[int, str]]]


def flows_on_links(plan: DeploymentPlan) -> Counter[str]:
    """Return link → how many flows cross it, forth or back; links that none crosses are not there."""
    routes = _Routes(plan)
    return Counter(
        link
        for flow in plan.workloads
        for link in {
            *routes.links(flow.source, flow.target),
            # Not the same where two ways are equally long; nor behind NAT, where there is no way in.
            *routes.links(flow.target, flow.source),
        }
    )


class _Routes:
    def __init__(self, plan: DeploymentPlan) -> None:
        self._plan = plan
        self._tables: dict[str, _Table] = {}
        #: (node, address) → the next link and the node behind it; None: there is no way.
        self._steps: dict[tuple[str, str], tuple[str, str] | None] = {}

    def links(self, source: str, target: str) -> list[str]:
        """Return the links from one node to another, in order; as far as routes lead."""
        address = self._plan.node(target).host
        found: list[str] = []
        while source != target and len(found) < MAX_LINKS:
            step = (source, address)
            if step not in self._steps:
                self._steps[step] = self._step(source, address)
            taken = self._steps[step]
            if taken is None:
                break
            link, source = taken
            found.append(link)
        return found

    def _step(self, node: str, address: str) -> tuple[str, str] | None:
        plan = self._plan.node(node)
        if node not in self._tables:
            self._tables[node] = _table(plan)
        name = _look_up(self._tables[node], address)
        if name is None:
            return None
        interface = next(found for found in plan.interfaces if found.name == name)
        link = self._plan.link(interface.link)
        here = link.a.node == node and link.a.interface == name
        return link.name, (link.b if here else link.a).node


def _look_up(table: _Table, address: str) -> str | None:
    """Return the interface of the longest prefix: a hub has thousands, so none is looked at in vain."""
    if not address:
        return None
    wanted = ip_address(address)
    number, bits = int(wanted), wanted.max_prefixlen
    for length, prefixes in table.get(bits, {}).items():
        found = prefixes.get(number >> bits - length)
        if found is not None:
            return found
    return None


def _table(node: NodePlan) -> _Table:
    entries: list[tuple[IPv4Network | IPv6Network, str]] = [
        *((ip_network(route.prefix), route.interface) for route in node.routes),
        *(
            (ip_network(address, strict=False), interface.name)
            for interface in node.interfaces
            for address in interface.addresses
        ),
    ]
    table: _Table = {}
    for network, interface in sorted(entries, key=lambda entry: -entry[0].prefixlen):
        bits, length = network.max_prefixlen, network.prefixlen
        prefixes = table.setdefault(bits, {}).setdefault(length, {})
        prefixes[int(network.network_address) >> bits - length] = interface
    return table
