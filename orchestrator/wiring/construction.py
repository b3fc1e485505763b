"""Construction: making the namespaces and links of a lab, all of them or those that it does not have yet."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from orchestrator.executor import Commands, run_batch
from orchestrator.topology.plan import DeploymentPlan, LinkPlan, NodePlan
from orchestrator.wiring import commands, namespaces, nat, offloads, rtnetlink
from orchestrator.wiring.journal import Journal
from orchestrator.wiring.readiness import wait_until_running
from orchestrator.wiring.shaping import LinkShaping
from orchestrator.wiring.state import LabRecord, LinkRecord
from orchestrator.wiring.threads import Threads


class Construction:
    """Makes what a plan says; what it made is removed by ``orchestrator.wiring.cleanup``.

    Args:
        plan: what is to be made.
        journal: of the lab; each namespace is in it before it is made.
        record: what the lab looks like when it is made.
        adopted: node name → path of its network namespace, for nodes that have one already.
        shaping: link name → what joins and impairs it.
        commands_: runs ``ip``.
        threads: of the lab.
    """

    def __init__(
        self,
        plan: DeploymentPlan,
        journal: Journal,
        record: LabRecord,
        adopted: Mapping[str, Path],
        shaping: Mapping[str, LinkShaping],
        *,
        commands_: Commands,
        threads: Threads,
    ) -> None:
        self._plan = plan
        self._journal = journal
        self._record = record
        self._adopted = adopted
        self._shaping = shaping
        self._commands = commands_
        self._do = threads.do
        self._places = {node.name: Path(node.namespace) for node in record.nodes}
        self._interfaces: dict[Path, list[str]] = {}

    async def build(self) -> None:
        """Make namespaces and links, with addresses, routes and impairments, and read these back.

        Raises:
            BackendError: something cannot be made; ``destroy`` removes the rest.
        """
        await self._make_namespaces(self._plan.nodes, self._plan.links)
        await self._make_interfaces(self._plan.links)
        await self._in_each({node.name: commands.node_lines(node, self._plan) for node in self._plan.nodes})
        await self._do(nat.set_up, self._plan, self._commands, self._places)
        await asyncio.gather(*(self._join(link) for link in self._record.links))
        await self._each(wait_until_running)

    async def grow(self, former: DeploymentPlan, nodes: Sequence[str], links: Sequence[str]) -> None:
        """Make nodes and links that a lab which is up does not have yet, and set the routes of all its nodes.

        Args:
            former: what was up: gives the routes that nodes have no more.
            nodes: names of those to be made, with those of ``links`` part of this lab's plan.
            links: names of those to be made.

        Raises:
            BackendError: something cannot be made.
        """
        plans = [self._plan.link(name) for name in links]
        await self._make_namespaces([self._plan.node(name) for name in nodes], plans)
        await self._make_interfaces(plans)
        made = {node: commands.node_lines(self._plan.node(node), self._plan) for node in nodes}
        stays = [node for node in self._plan.nodes if node.name not in made]
        stale = {node.name: commands.stale_route_lines(former.node(node.name), node) for node in stays}
        # Forced: the kernel has taken out those of interfaces that have gone.
        await self._in_each({name: lines for name, lines in stale.items() if lines}, force=True)
        changed = {
            node.name: [
                *(
                    line
                    for interface in node.interfaces
                    if interface.link in links
                    for line in commands.interface_lines(node, interface, self._plan)
                ),
                *commands.route_lines(node),
            ]
            for node in stays
            if former.node(node.name).routes != node.routes
            or former.node(node.name).interfaces != node.interfaces
            or any(interface.link in links for interface in node.interfaces)
        }
        await self._in_each({**made, **changed})
        translating = dataclasses.replace(self._plan, nodes=tuple(self._plan.node(name) for name in nodes))
        await self._do(nat.set_up, translating, self._commands, {name: self._places[name] for name in nodes})
        await asyncio.gather(*(self._join(link) for link in self._record.links if link.name in links))
        await self._each(wait_until_running)

    async def _make_namespaces(self, nodes_: Sequence[NodePlan], links_: Sequence[LinkPlan]) -> None:
        run_id = self._record.run_id
        links = [namespaces.link_namespace(run_id, link.index) for link in links_]
        nodes = {node.name: namespaces.node_namespace(run_id, node.name) for node in nodes_}
        made = [*links, *(name for node, name in nodes.items() if node not in self._adopted)]
        adopted = {nodes[node]: path for node, path in self._adopted.items() if node in nodes}
        self._journal.record(
            *({"kind": "namespace", "name": name} for name in made),
            *({"kind": "adopted", "name": name} for name in adopted),
        )
        await self._do(run_batch, self._commands, "ip", commands.namespace_lines(made))
        for name, path in adopted.items():
            namespaces.adopt(name, path)
        settings = {
            self._places[node.name]: partial(namespaces.write_settings, commands.node_settings(node))
            for node in nodes_
        }
        for name in links:
            settings[namespaces.path_of(name)] = partial(namespaces.write_settings, commands.link_settings())
        await self._do(namespaces.inside, settings)

    async def _make_interfaces(self, links: Sequence[LinkPlan]) -> None:
        lines: list[commands.Line] = []
        of_namespace: dict[Path, list[str]] = {}
        for link in links:
            a, b = self._places[link.a.node], self._places[link.b.node]
            middle = namespaces.path_of(namespaces.link_namespace(self._record.run_id, link.index))
            lines += commands.veth_lines(link, self._plan, a=a, middle=middle, b=b)
            of_namespace[middle] = [commands.DEVICE_A, commands.DEVICE_B]
            of_namespace.setdefault(a, []).append(link.a.interface)
            of_namespace.setdefault(b, []).append(link.b.interface)
        await self._do(run_batch, self._commands, "ip", lines)
        self._interfaces = of_namespace
        await self._each(_switch_off)

    async def _each(self, work: Callable[[Sequence[str]], None]) -> None:
        """Do something with all interfaces of each namespace, inside it."""
        await self._do(
            namespaces.inside,
            {path: partial(work, interfaces) for path, interfaces in self._interfaces.items()},
        )

    async def _in_each(self, lines: Mapping[str, Sequence[commands.Line]], *, force: bool = False) -> None:
        """Obey lines of ``ip`` in nodes, by name."""
        await self._do(
            namespaces.inside,
            {
                self._places[node]: partial(rtnetlink.obey, found, force=force)
                for node, found in lines.items()
            },
        )

    async def _join(self, link: LinkRecord) -> None:
        planned = self._plan.link(link.name)
        await self._do(self._shaping[link.name].join, planned.forward, planned.reverse)


def _switch_off(interfaces: Iterable[str]) -> None:
    for interface in interfaces:
        offloads.switch_off(interface)
