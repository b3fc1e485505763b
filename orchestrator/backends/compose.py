"""The back end inside a Compose lab: nodes and networks are up already, the agents shape their own sides.

``docker compose up`` makes what a back end makes elsewhere. This one runs in the orchestrator's container,
reaches every agent over the management network (the service's name is the node's name), and has each agent
set its addresses and routes, shape and capture its own interfaces; the argument lists are made here.

With netem in the kernel, what leaves an endpoint is shaped at that endpoint's own egress. Without, it is
shaped where it arrives, in user space.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from node.control.client import ControlClient
from node.control.messages import Command, NodeEvent, Reply
from node.links.impairments.base import IMPAIRMENTS
from node.links.settings import NONE, Impairments
from node.protocol.time import Duration, Instant
from orchestrator.agents import Agents
from orchestrator.backends.base import (
    BACKENDS,
    Capabilities,
    Collected,
    Impairment,
    NodeState,
    Problem,
)
from orchestrator.compose.egress import set_own_egress
from orchestrator.compose.generate import CONTROL_PORT, RESULTS
from orchestrator.compose.measuring import AgentEnd, AgentProber
from orchestrator.compose.networks import alias, endpoints_of, interface_of
from orchestrator.errors import BackendError
from orchestrator.measure.prober import Prober
from orchestrator.tc.commands import kernel_lack
from orchestrator.tc.comparison import differences
from orchestrator.tc.readback import parse
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan, LinkPlan, NodePlan


@BACKENDS.register("compose")
class ComposeBackend:
    """Runs a plan on the containers that ``docker compose up`` has started."""

    name: ClassVar[str] = "compose"

    def capabilities(self) -> Capabilities:
        """Return what it can do: all impairments; nodes cannot be stopped from inside."""
        return Capabilities(
            virtual_time=False,
            impairments=frozenset(IMPAIRMENTS.names()),
            brings_transports=True,
            # Agents have CAP_NET_ADMIN, the orchestrator's container has not: a controller of TCP that takes
            # it is theirs. Where they lack one after all the flow fails, and says what.
            nodes_have_own_rights=True,
            nodes_return=False,
            node_states=False,
            nat=False,
            ipv6=True,
        )

    def check(self) -> list[Problem]:
        """Return a problem unless this runs in a container of a Compose lab."""
        if Path(RESULTS).is_dir() and Path("/.dockerenv").exists():
            return []
        remedy = "run `docker compose up --build --abort-on-container-exit` in the checkout"
        return [Problem(what="this is not the orchestrator's container of a Compose lab", remedy=remedy)]

    def files_directory(self, directory: Path, node: str) -> Path:
        """Return where, on this machine, the files lie that the agent of ``node`` may send."""
        return _agent_directory(node) / "files"

    async def deploy(
        self, plan: DeploymentPlan, *, run_id: str, directory: Path, capture: bool = True
    ) -> ComposeDeployment:
        """Reach all agents, set routes and impairments, start the captures.

        Raises:
            BackendError: an agent cannot be reached, or could not do its part.
        """
        deployment = ComposeDeployment(plan, directory)
        try:
            await deployment.connect()
            await deployment.set_up(capture=capture)
        except BaseException:
            await deployment.destroy()
            raise
        return deployment


class ComposeDeployment:
    """A Compose lab that is up; see ``Deployment``."""

    def __init__(self, plan: DeploymentPlan, directory: Path) -> None:
        self.impairment = Impairment.USERSPACE
        # What leaves these ends is impaired by a shaper though the kernel impairs the rest, and why.
        self._by_shaper: dict[LinkEndpoint, str] = {}
        self._plan = plan
        self._directory = directory
        self._agents = Agents()
        #: What the ends of links are called in their containers.
        self._devices: dict[LinkEndpoint, str] = {}
        self._captures: dict[str, list[Path]] = {}

    async def connect(self) -> None:
        """Reach every agent, and learn what its interfaces are called and whether the kernel has netem."""
        await self._agents.connect(
            {node.name: ControlClient.connect_tcp(node.name, CONTROL_PORT) for node in self._plan.nodes}
        )
        found = await asyncio.gather(*(self._find_interfaces(node.name) for node in self._plan.nodes))
        if all(data["netem"] for data in found):
            self.impairment = Impairment.KERNEL

    async def set_up(self, *, capture: bool) -> None:
        """Set addresses, routes and impairments, then start the captures."""
        for node in self._plan.nodes:
            await self._agents.order(node.name, "configure", commands=self._configuration(node))
        for link in self._plan.links:
            await self.set_impairments(link.a, link.forward)
            await self.set_impairments(link.b, link.reverse)
            if capture:
                await self._start_captures(link)

    async def request(self, node: str, command: Command) -> Reply:
        """Hand a command to a node's agent and return its reply."""
        return await self._agents.request(node, command)

    async def set_impairments(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        """Replace the whole set of what leaves ``endpoint``, and return what was read back.

        Raises:
            BackendError: there is no such endpoint, or what was read back is not what was asked.
        """
        self._check(endpoint)
        if self.impairment is Impairment.KERNEL and await self._set_by_kernel(endpoint, impairments):
            return impairments
        got = await self._set_by_shaper(endpoint, impairments)
        wrong = differences(impairments, got)
        if wrong:
            raise BackendError(f"{endpoint}: the link is not as asked: {'; '.join(wrong)}")
        return got

    async def begin(self) -> list[str]:
        """Let the run start: links number packets from now on; return whom the kernel does not impair.

        Raises:
            BackendError: an agent does not answer.
        """
        for node in self._plan.nodes:
            await self._agents.order(node.name, "begin_shaping")
        return [
            f"what leaves {endpoint}: impaired by the user-space shaper, not by the kernel: {why}"
            for endpoint, why in self._by_shaper.items()
        ]

    def prober(self, links: Sequence[str]) -> Prober:
        """Return what measures the named links, through the agents at their ends."""
        found = {}
        for link in (self._plan.link(name) for name in links):
            ways = ((link.a, link.b, link.forward), (link.b, link.a, link.reverse))
            by_shaper = {end: self._is_by_shaper(end) for end in (link.a, link.b)}
            for end, opposite, impairments in ways:
                found[str(end)] = AgentEnd(
                    end,
                    opposite,
                    self._devices[end],
                    interface_of(self._plan, end),
                    interface_of(self._plan, opposite),
                    ip=any(by_shaper.values()),
                    by_shaper=by_shaper[end],
                    corrupts=bool(impairments.corrupt),
                )
        return AgentProber(self._agents, found)

    def _is_by_shaper(self, endpoint: LinkEndpoint) -> bool:
        """Return whether what leaves an end is shaped in netfilter at the other one; IPv6 never is."""
        if not interface_of(self._plan, endpoint).ipv4:
            return False
        return self.impairment is Impairment.USERSPACE or endpoint in self._by_shaper

    async def _set_by_kernel(self, endpoint: LinkEndpoint, impairments: Impairments) -> bool:
        """Set by tc at the sender's end; return False, with nothing set, where the kernel cannot."""
        traced = "its agent plays no traces into the kernel" if impairments.trace.steps else ""
        why = kernel_lack(impairments) or traced
        if not why:
            try:
                got = await self._order_tc(endpoint, impairments)
            except BackendError as error:
                # A queue that is not built in, or a word that this tc does not know.
                why = str(error)
            else:
                wrong = differences(impairments, got)
                if wrong:
                    raise BackendError(f"{endpoint}: the link is not as asked: {'; '.join(wrong)}")
                if self._by_shaper.pop(endpoint, None) is not None:
                    await self._set_by_shaper(endpoint, NONE)
                return True
        self._by_shaper[endpoint] = why
        await self._order_tc(endpoint, NONE)
        return False

    async def _order_tc(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        device = self._devices[endpoint]
        mtu = interface_of(self._plan, endpoint).mtu
        commands = set_own_egress(device, impairments, mtu=mtu)
        data = await self._agents.order(endpoint.node, "shape", interface=device, tc=commands)
        return parse(str(data["qdiscs"]))

    async def _set_by_shaper(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        arrival = _other_end(self._plan, endpoint)
        if impairments.items and interface_of(self._plan, endpoint).ipv6:
            raise BackendError(
                f"{endpoint}: agents shape IPv4 only in user space, and this link has IPv6: "
                "write ip: 4 for it, use a kernel with netem, or --backend netns or docker"
            )
        data = await self._agents.order(
            arrival.node,
            "shape",
            interface=self._devices[arrival],
            impairments=impairments.to_mapping(),
            seed=f"{self._plan.seed}/link/{endpoint}->{arrival}",
        )
        return Impairments.parse(_mapping(data["impairments"]))

    async def set_node_state(self, node: str, state: NodeState) -> None:
        """Refuse: a container cannot be stopped from inside another."""
        raise BackendError(
            f"node {node} cannot be set {state.value} from inside Compose: "
            f"use `docker compose pause|stop {node}` outside, or the docker back end"
        )

    async def control_nat(self, node: str, *, keep_for: Duration | None = None, flush: bool = False) -> str:
        """Refuse: there are no NAT routers here."""
        raise BackendError(f"node {node} is no NAT router here")

    async def inject(self, endpoint: LinkEndpoint, frame: bytes) -> None:
        """Have the node at ``endpoint`` send an Ethernet frame on its side of the link.

        Raises:
            BackendError: there is no such endpoint, or the frame cannot be sent.
        """
        self._check(endpoint)
        device = self._devices[endpoint]
        await self._agents.order(endpoint.node, "inject", interface=device, frame=frame.hex())

    def events(self) -> AsyncIterator[NodeEvent]:
        """Yield what the nodes report, in order of arrival, until the deployment is destroyed."""
        return self._agents.events()

    def now(self) -> Instant:
        """Return the orchestrator's monotonic clock, ns."""
        return int(asyncio.get_running_loop().time() * 1_000_000_000)

    async def sleep(self, duration: Duration) -> None:
        """Wait for ``duration`` ns."""
        await asyncio.sleep(duration / 1_000_000_000)

    async def collect(self, directory: Path) -> Collected:
        """End the captures, and bring key logs, traces and received files beside them."""
        for node in self._plan.nodes:
            await self._agents.order(node.name, "end_captures")
        names = [node.name for node in self._plan.nodes]
        key_logs = await asyncio.to_thread(_copy_key_logs, names, directory)
        if self._plan.qlog:
            await asyncio.to_thread(_copy_traces, names, directory)
        for flow in self._plan.workloads:
            await asyncio.to_thread(_move_received, flow.target, flow.name, directory)
        return Collected(captures=dict(self._captures), key_logs=key_logs)

    async def destroy(self) -> None:
        """Let go of the agents; what Compose made, Compose removes."""
        await self._agents.close()

    def _check(self, endpoint: LinkEndpoint) -> None:
        known = [end for link in self._plan.links for end in (link.a, link.b)]
        if endpoint not in known:
            raise BackendError(f"no endpoint {endpoint} in this lab: use one of {', '.join(map(str, known))}")

    async def _start_captures(self, link: LinkPlan) -> None:
        """Capture a link at both of its ends: each sees what it sends and what arrives."""
        files = []
        for endpoint in (link.a, link.b):
            file = self._directory / "captures" / f"{endpoint.node}-{endpoint.interface}.pcapng"
            await self._agents.order(
                endpoint.node, "capture", interface=self._devices[endpoint], file=str(file)
            )
            files.append(file)
        self._captures[link.name] = files

    async def _find_interfaces(self, node: str) -> Mapping[str, object]:
        """Learn what a node's ends of links are called there; return all that its agent says."""
        endpoints = [endpoint for _, endpoint in endpoints_of(self._plan, node)]
        data = await self._agents.order(node, "interfaces", names=[alias(endpoint) for endpoint in endpoints])
        found = _mapping(data["interfaces"])
        self._devices.update({endpoint: str(found[alias(endpoint)]) for endpoint in endpoints})
        return data

    def _configuration(self, node: NodePlan) -> list[list[str]]:
        """Return the commands that give a node the plan's addresses and routes."""
        commands = []
        for link, endpoint in endpoints_of(self._plan, node.name):
            planned, device = interface_of(self._plan, endpoint), self._devices[endpoint]
            commands.append(["ip", "link", "set", "dev", device, "address", planned.mac])
            for address in planned.addresses:
                # Known at once: duplicate address detection would take a second.
                nodad = ["nodad"] if ":" in address else []
                commands.append(["ip", "address", "replace", address, "dev", device, *nodad])
            far = interface_of(self._plan, link.b if endpoint == link.a else link.a)
            for host in far.hosts:
                # Static: on a lossy link neighbour discovery alone can take seconds.
                neighbour = [host, "lladdr", far.mac, "dev", device]
                commands.append(["ip", "neigh", "replace", *neighbour, "nud", "permanent"])
        routes = [["ip", "route", "replace", route.prefix, "via", route.via] for route in node.routes]
        return commands + routes


def _move_received(node: str, flow: str, directory: Path) -> None:
    """Move what a node received of a flow, if it kept that, into the run's directory."""
    source = _agent_directory(node) / "files" / "received" / flow
    if source.is_file():
        target = directory / "received" / node
        target.mkdir(parents=True, exist_ok=True)
        source.replace(target / flow)


def _agent_directory(node: str) -> Path:
    """Return where an agent keeps its files; generate.py tells it so."""
    return Path(RESULTS) / "agents" / node


def _copy_key_logs(nodes: list[str], directory: Path) -> list[Path]:
    """Copy the nodes' key logs into a directory, and return the copies."""
    directory.mkdir(parents=True, exist_ok=True)
    copies = []
    for node in nodes:
        source = Path(RESULTS) / "agents" / node / "keys.log"
        if source.is_file():
            copies.append(Path(shutil.copyfile(source, directory / f"{node}.keys")))
    return copies


def _copy_traces(nodes: list[str], directory: Path) -> None:
    """Copy the nodes' qlog files to where other back ends have them."""
    for node in nodes:
        source = _agent_directory(node) / "qlog"
        if source.is_dir():
            shutil.copytree(source, directory / "qlog" / node, dirs_exist_ok=True)


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise BackendError(f"an agent answered {json.dumps(value)}, not an object: are the images current?")
    return value


def _other_end(plan: DeploymentPlan, endpoint: LinkEndpoint) -> LinkEndpoint:
    for link in plan.links:
        if endpoint == link.a:
            return link.b
        if endpoint == link.b:
            return link.a
    raise KeyError(str(endpoint))
