"""The namespace back end: each node a network namespace, its agent a process in it, real packets between."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from node.control.messages import Command, NodeEvent, Reply
from node.links.impairments.base import IMPAIRMENTS
from node.links.settings import Impairments
from node.protocol.time import SECOND, Duration, Instant
from orchestrator import doctor
from orchestrator.backends.base import (
    BACKENDS,
    Capabilities,
    Collected,
    Impairment,
    NodeState,
    Problem,
    files_below,
)
from orchestrator.errors import BackendError
from orchestrator.measure.prober import Prober
from orchestrator.topology.model import LinkEndpoint, NodeKind
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.wiring import limits
from orchestrator.wiring.agents import Agent, control_sockets, start_all, stop_all, wait_all_ready
from orchestrator.wiring.forkserver import AGENT_MODULES, LINK_MODULES
from orchestrator.wiring.lab import Lab
from orchestrator.wiring.measuring import all_counters, open_prober


@BACKENDS.register("netns")
class NetnsBackend:
    """Labs of network namespaces on this machine; needs root and iproute2."""

    name: ClassVar[str] = "netns"

    def capabilities(self) -> Capabilities:
        """Return what it can do: everything, in real time."""
        return Capabilities(virtual_time=False, impairments=frozenset(IMPAIRMENTS.names()))

    def check(self) -> list[Problem]:
        """Return, by trying, what this machine lacks."""
        return doctor.namespace_problems()

    async def deploy(
        self,
        plan: DeploymentPlan,
        *,
        run_id: str,
        directory: Path,
        capture: bool = True,
        detached: bool = False,
    ) -> NetnsDeployment:
        """Make the lab, as base.Backend says.

        Args:
            plan: what is to be made.
            run_id: eight lower-case hex digits; part of every name.
            directory: where the run's files go.
            capture: whether each link is captured.
            detached: whether the lab outlives this process (``narrows deploy``); else everything of it
                that runs ends with it, even if it is killed.

        Raises:
            BackendError: it cannot be made; what was made so far has been removed.
        """
        with files_below(directory):
            await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
        # Not in a thread: a cancelled wait would lose the lab that the thread then makes.
        lab = Lab.create(
            plan,
            run_id=run_id,
            directory=directory,
            detached=detached,
            controls=control_sockets(run_id, plan),
            modules=(*LINK_MODULES, *AGENT_MODULES),
        )
        deployment = NetnsDeployment(lab, directory)
        try:
            limits.make_room(
                limits.needs_of(plan, capture=capture, relays=lab.impairment is Impairment.USERSPACE)
            )
            with files_below(directory):
                await lab.build()
                if capture:
                    await lab.spawn_captures()
                # They come up together; nobody sends before a flow is asked for.
                await deployment.start_agents()
                await lab.wait_for_captures()
            # Not before the agents answer: a lab whose maker was killed until then is no lab that is up.
            lab.save()
        except BaseException:
            # Cancellation too: Ctrl-C in the middle leaves nothing behind.
            await deployment.destroy()
            raise
        return deployment


class NetnsDeployment:
    """A lab of namespaces that is up."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab = lab
        self.impairment = lab.impairment
        self._directory = directory
        self._events: asyncio.Queue[NodeEvent | None] = asyncio.Queue()
        self._agents = {
            node.name: Agent(node, lab, directory, self._events)
            for node in lab.plan.nodes
            if node.kind is NodeKind.HOST
        }

    async def start_agents(self) -> None:
        """Start all agents and wait until each answers.

        Raises:
            BackendError: one does not; the message holds the end of its log.
        """
        (self._directory / "files").mkdir(exist_ok=True)
        for name in self._agents:
            (self._directory / "received" / name).mkdir(parents=True, exist_ok=True)
        agents = list(self._agents.values())
        await self.lab.do(start_all, agents)
        await wait_all_ready(agents)

    async def request(self, node: str, command: Command) -> Reply:
        """Hand a command to a node's agent and return its reply.

        Raises:
            BackendError: the node has no agent, or it does not answer.
        """
        return await self._agent(node).request(command)

    async def set_impairments(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        """Replace the whole set of what leaves ``endpoint`` on its link; return what was read back.

        Raises:
            BackendError: what was read back is not what was asked.
        """
        return await self.lab.set_impairments(endpoint, impairments)

    async def begin(self) -> list[str]:
        """Let the run start: links number packets from now on; return who impairs what is not as usual.

        Raises:
            BackendError: who impairs does not answer.
        """
        return await self.lab.begin()

    def prober(self, links: Sequence[str]) -> Prober:
        """Return what measures the named links, with sockets in the nodes' namespaces."""
        return open_prober(self.lab, links)

    async def link_counters(self) -> Mapping[str, Mapping[str, int]]:
        """Return what happened to packets on each link, by the end that sends."""
        return await all_counters(self.lab)

    async def set_node_state(self, node: str, state: NodeState) -> None:
        """Run, pause or stop a node. A router that is not running forwards nothing.

        Raises:
            BackendError: there is no such node, or its agent does not come up again.
        """
        agent = self._agents.get(node)
        if agent is None:
            await self.lab.set_forwarding(node, on=state is NodeState.RUNNING)
            return
        match state:
            case NodeState.PAUSED:
                agent.pause()
            case NodeState.STOPPED:
                await agent.kill()
            case NodeState.RUNNING if agent.runs:
                agent.resume()
            case NodeState.RUNNING:
                await agent.kill()
                agent.start()
                await agent.wait_ready()

    async def control_nat(self, node: str, *, keep_for: Duration | None = None, flush: bool = False) -> str:
        """Change how long a NAT router keeps idle mappings, or let it forget all; return what to tell.

        Raises:
            BackendError: it is no NAT router, or the kernel refuses.
        """
        return await self.lab.control_nat(node, keep_for=keep_for, flush=flush)

    async def inject(self, endpoint: LinkEndpoint, frame: bytes) -> None:
        """Put an Ethernet frame on the link as if ``endpoint`` had sent it.

        Raises:
            BackendError: there is no such endpoint, or the frame does not fit.
        """
        await self.lab.inject(endpoint, frame)

    async def events(self) -> AsyncIterator[NodeEvent]:
        """Yield what the nodes report, and ``exited`` (exit_code, log) for an agent that ended unasked."""
        while (event := await self._events.get()) is not None:
            yield event
        # Let whoever asks next see the end too.
        self._events.put_nowait(None)

    def running_captures(self) -> dict[str, list[Path]]:
        """Return link name → the files that its running capture is written to."""
        return self.lab.running_captures()

    def now(self) -> Instant:
        """Return the machine's clock in ns, which the agents' events carry too."""
        return time.monotonic_ns()

    async def sleep(self, duration: Duration) -> None:
        """Wait for ``duration`` ns."""
        await asyncio.sleep(duration / SECOND)

    async def collect(self, directory: Path) -> Collected:
        """Stop the agents in good order, end the captures, and bring all files below ``directory``.

        Raises:
            BackendError: a capture failed.
        """
        await stop_all(self._agents.values())
        captured = await self.lab.stop_captures()
        return Collected(
            captures={link: [_below(directory, path) for path in paths] for link, paths in captured.items()},
            key_logs=[
                _below(directory, agent.key_log) for agent in self._agents.values() if agent.key_log.exists()
            ],
            logs=[_below(directory, path) for path in sorted((self._directory / "logs").glob("*.log"))],
        )

    async def destroy(self) -> None:
        """Remove everything; may be called twice.

        Raises:
            BackendError: something cannot be removed; it is named.
        """
        for agent in self._agents.values():
            await agent.disconnect()
        try:
            await self.lab.destroy()
        finally:
            self._events.put_nowait(None)

    async def leave(self) -> None:
        """Let go of a detached lab: it stays up, for other commands to change and to destroy."""
        for agent in self._agents.values():
            await agent.disconnect()
        self._events.put_nowait(None)
        self.lab.leave()

    def _agent(self, node: str) -> Agent:
        try:
            return self._agents[node]
        except KeyError:
            known = ", ".join(self._agents)
            raise BackendError(f"no host {node!r} in this lab: use one of {known}") from None


def _below(directory: Path, path: Path) -> Path:
    """Return ``path`` if it lies below ``directory``, else move it there."""
    if path.resolve().is_relative_to(directory.resolve()):
        return path
    directory.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(path, directory / path.name))
