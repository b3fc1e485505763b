"""The docker back end: nodes are containers without a network of Docker's, wired as namespaces are.

Each container starts with an empty network namespace, which the wiring adopts through ``/proc/<pid>/ns/net``:
links, shaping and captures are those of the netns back end. Agents are reached over a Unix socket in a
directory that both sides see, so no address of the lab is used for anything but the lab.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from node.control.client import ControlClient
from node.control.messages import Command, NodeEvent, Reply
from node.links.impairments.base import IMPAIRMENTS
from node.links.settings import Impairments
from node.protocol.time import Duration, Instant
from orchestrator import doctor
from orchestrator.agents import Agents
from orchestrator.backends.base import BACKENDS, Capabilities, Collected, NodeState, Problem, files_below
from orchestrator.containers.building import ensure_image, image_problems
from orchestrator.containers.engine import connected
from orchestrator.containers.nodes import Containers
from orchestrator.errors import BackendError
from orchestrator.measure.prober import Prober
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.wiring.lab import Lab
from orchestrator.wiring.measuring import all_counters, open_prober


@BACKENDS.register("docker")
class DockerBackend:
    """Labs of containers on this machine's engine."""

    name: ClassVar[str] = "docker"

    def capabilities(self) -> Capabilities:
        """Return what it can do: all impairments; the links of a stopped container are gone for good."""
        return Capabilities(
            virtual_time=False,
            impairments=frozenset(IMPAIRMENTS.names()),
            nodes_return=False,
            brings_transports=True,
        )

    def check(self) -> list[Problem]:
        """Return what is missing: the right to make links, an engine, an image or what it is made from."""
        return [*doctor.namespace_problems(), *image_problems()]

    def files_directory(self, directory: Path, node: str) -> Path:
        """Return where, on this machine, the files lie that the agent of ``node`` may send."""
        return directory / "nodes" / node / "files"

    async def deploy(
        self,
        plan: DeploymentPlan,
        *,
        run_id: str,
        directory: Path,
        capture: bool = True,
        detached: bool = False,
    ) -> DockerDeployment:
        """Make the lab: build the image if it is stale, start the containers, wire them, reach the agents.

        Args:
            plan: what is to be made.
            run_id: eight lower-case hex digits; part of every name and label.
            directory: where the run's files go.
            capture: whether each link is captured.
            detached: whether the lab outlives this process (``narrows deploy``).

        Raises:
            BackendError: it cannot be made; what was made so far has been removed.
        """
        image = await asyncio.to_thread(ensure_image, plan)
        deployment = DockerDeployment(plan, run_id, directory, image, detached=detached)
        try:
            with files_below(directory):
                await deployment.set_up(capture=capture)
        except BaseException:
            await deployment.destroy()
            raise
        return deployment


class DockerDeployment:
    """A lab of containers that is up; see ``Deployment``."""

    def __init__(
        self, plan: DeploymentPlan, run_id: str, directory: Path, image: str, *, detached: bool
    ) -> None:
        self._plan = plan
        self._directory = directory.absolute()
        self._image = image
        self._agents = Agents()
        self._paused: set[str] = set()
        self._containers = Containers(run_id, self._directory)
        # Filled in once the containers run; the journal must be there before the first of them.
        self._namespaces = {node.name: Path("/proc/0/ns/net") for node in plan.nodes}
        self._lab = Lab.create(
            plan,
            run_id=run_id,
            directory=self._directory,
            backend="docker",
            adopted=self._namespaces,
            detached=detached,
            containers={node.name: self._containers.name(node.name) for node in plan.nodes},
            controls={node.name: self._containers.control(node.name) for node in plan.nodes},
        )
        self.impairment = self._lab.impairment

    async def set_up(self, *, capture: bool) -> None:
        """Start the containers, wire them, start the captures, reach the agents."""
        self._lab.journal.record({"kind": "docker"})
        for node in self._plan.nodes:
            self._containers.write_configuration(self._plan, node)
        with connected() as engine:
            # In threads of the lab: if this is cut short, its end is waited for before all is removed.
            started = await asyncio.gather(
                *(
                    self._lab.do(self._containers.start, engine, self._image, self._plan, node)
                    for node in self._plan.nodes
                )
            )
        self._namespaces.update(zip(self._namespaces, started, strict=True))
        await self._lab.build()
        if capture:
            await self._lab.start_captures()
        await self._containers.wait_until_listening(self._namespaces)
        await self._agents.connect(
            {
                node.name: ControlClient.connect_unix(str(self._containers.control(node.name)))
                for node in self._plan.nodes
            }
        )
        # Not before: a lab whose maker was killed until then is no lab that is up.
        self._lab.save()

    async def request(self, node: str, command: Command) -> Reply:
        """Hand a command to a node's agent and return its reply.

        Raises:
            BackendError: there is no such node, it is paused, or it does not answer.
        """
        if node in self._paused:
            raise BackendError(f"node {node} is paused: set it to running first")
        return await self._agents.request(node, command)

    async def set_impairments(self, endpoint: LinkEndpoint, impairments: Impairments) -> Impairments:
        """Replace the whole set of what leaves ``endpoint``, and return what was read back."""
        return await self._lab.set_impairments(endpoint, impairments)

    async def begin(self) -> list[str]:
        """Let the run start: links number packets from now on; return who impairs what is not as usual.

        Raises:
            BackendError: who impairs does not answer.
        """
        return await self._lab.begin()

    def prober(self, links: Sequence[str]) -> Prober:
        """Return what measures the named links, with sockets in the nodes' namespaces."""
        return open_prober(self._lab, links)

    async def link_counters(self) -> Mapping[str, Mapping[str, int]]:
        """Return what happened to packets on each link, by the end that sends."""
        return await all_counters(self._lab)

    async def set_node_state(self, node: str, state: NodeState) -> None:
        """Pause a container, go on with it, or kill it; one that was killed does not come back.

        Raises:
            BackendError: there is no such node, or it cannot get into that state.
        """
        self._lab.record.node(node)
        await asyncio.to_thread(self._containers.set_state, node, state)
        (self._paused.add if state is NodeState.PAUSED else self._paused.discard)(node)
        if self._plan.node(node).kind.forwards and state is not NodeState.STOPPED:
            # A paused container's processes stand still; what forwards is the kernel.
            await self._lab.set_forwarding(node, on=state is NodeState.RUNNING)

    async def control_nat(self, node: str, *, keep_for: Duration | None = None, flush: bool = False) -> str:
        """Change how long a NAT router keeps idle mappings, or let it forget all; return what to tell.

        Raises:
            BackendError: it is no NAT router, or the kernel refuses.
        """
        return await self._lab.control_nat(node, keep_for=keep_for, flush=flush)

    async def inject(self, endpoint: LinkEndpoint, frame: bytes) -> None:
        """Put an Ethernet frame on the link as if ``endpoint`` had sent it."""
        await self._lab.inject(endpoint, frame)

    def events(self) -> AsyncIterator[NodeEvent]:
        """Yield what the nodes report, in order of arrival, until the deployment is destroyed."""
        return self._agents.events()

    def running_captures(self) -> dict[str, list[Path]]:
        """Return link name → the files that its running capture is written to."""
        return self._lab.running_captures()

    def now(self) -> Instant:
        """Return this machine's monotonic clock, ns."""
        return int(asyncio.get_running_loop().time() * 1_000_000_000)

    async def sleep(self, duration: Duration) -> None:
        """Wait for ``duration`` ns."""
        await asyncio.sleep(duration / 1_000_000_000)

    async def collect(self, directory: Path) -> Collected:
        """End the captures, and fetch the containers' logs."""
        captures = await self._lab.stop_captures()
        logs = await asyncio.to_thread(self._containers.fetch_logs)
        key_logs = [
            found for node in self._plan.nodes if (found := self._containers.key_log(node.name)).is_file()
        ]
        return Collected(captures=captures, key_logs=key_logs, logs=logs)

    async def destroy(self) -> None:
        """Remove containers, links and all else; may be called twice."""
        await self._agents.close()
        await self._lab.destroy()

    async def leave(self) -> None:
        """Let go of a detached lab: it stays up, for other commands to change and to destroy."""
        await self._agents.close()
        self._lab.leave()
