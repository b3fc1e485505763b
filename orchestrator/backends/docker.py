"""The docker back end: nodes are containers without a network of Docker's, wired as namespaces are.

Each container starts with an empty network namespace, which the wiring adopts through ``/proc/<pid>/ns/net``:
links, shaping and captures are those of the netns back end. Agents are reached over a Unix socket in a
directory that both sides see, so no address of the lab is used for anything but the lab.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import docker
from docker.errors import DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import Mount

from node.control.client import ControlClient, ControlError
from node.control.messages import Command, NodeEvent, Reply
from node.links.impairments.base import IMPAIRMENTS
from node.links.settings import Impairments
from node.protocol.time import Duration, Instant
from orchestrator import doctor
from orchestrator.agents import Agents
from orchestrator.backends.base import BACKENDS, Capabilities, Collected, NodeState, Problem, files_below
from orchestrator.errors import BackendError, EnvironmentMissingError
from orchestrator.images import (
    BASE_IMAGE,
    LAB_LABEL,
    NODE_IMAGE,
    NODE_LABEL,
    RUN_LABEL,
    SOURCE_LABEL,
    node_source_digest,
    source_directory,
)
from orchestrator.measure.streams import Prober
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan, NodePlan
from orchestrator.wiring.lab import Lab
from orchestrator.wiring.measuring import all_counters, open_prober
from orchestrator.wiring.state import socket_directory

#: Seconds for one call to the engine; starting twenty containers at once on two cores takes some.
ENGINE_TIME_LIMIT = 120
#: Seconds until an agent in a container that has just started listens.
AGENT_TIME_LIMIT = 60.0
_POLL_SECONDS = 0.02
#: How often, and after how long, the engine is asked again whether a container of a run is left.
_LOOKS = 2
_LOOK_AGAIN_SECONDS = 0.2
#: Where a container sees its configuration and control socket, and its part of the results.
_RUNTIME = "/run/narrows"
_RESULTS = "/results"


@BACKENDS.register("docker")
class DockerBackend:
    """Labs of containers on this machine's engine."""

    name: ClassVar[str] = "docker"

    def capabilities(self) -> Capabilities:
        """Return what it can do: all impairments; the links of a stopped container are gone for good."""
        return Capabilities(
            virtual_time=False,
            impairments=frozenset(IMPAIRMENTS.names()),
            transports=frozenset({"strait", "tcp"}),
            nodes_return=False,
        )

    def check(self) -> list[Problem]:
        """Return what is missing: the right to make links, an engine, an image or what it is made from."""
        problems = doctor.namespace_problems()
        try:
            with _engine() as engine:
                if _image_problem(engine) and not _has_image(engine, BASE_IMAGE):
                    problems.append(_no_base_image())
        except EnvironmentMissingError as error:
            problems.append(
                Problem(str(error), "install Docker and start it: https://docs.docker.com/engine/")
            )
        return problems

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
        image = await asyncio.to_thread(_ensure_image)
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
        self._containers = {node.name: f"nw-{run_id}-{node.name}" for node in plan.nodes}
        self._sockets = {node.name: socket_directory(run_id) / node.name for node in plan.nodes}
        # Filled in once the containers run; the journal must be there before the first of them.
        self._namespaces = {node.name: Path("/proc/0/ns/net") for node in plan.nodes}
        self._lab = Lab.create(
            plan,
            run_id=run_id,
            directory=self._directory,
            backend="docker",
            adopted=self._namespaces,
            detached=detached,
            containers=self._containers,
            controls={node: path / "control.sock" for node, path in self._sockets.items()},
        )
        self.impairment = self._lab.impairment

    async def set_up(self, *, capture: bool) -> None:
        """Start the containers, wire them, start the captures, reach the agents."""
        self._lab.journal.record({"kind": "docker"})
        for node in self._plan.nodes:
            self._write_configuration(node)
        await asyncio.gather(*(asyncio.to_thread(self._start, node) for node in self._plan.nodes))
        await self._lab.build()
        if capture:
            await self._lab.start_captures()
        await self._agents.connect({node.name: self._connect(node.name) for node in self._plan.nodes})

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
        await asyncio.to_thread(self._set_state, node, state)
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
        logs = await asyncio.to_thread(self._fetch_logs)
        key_logs = [found for node in self._plan.nodes if (found := self._key_log(node.name)).is_file()]
        return Collected(captures=captures, key_logs=key_logs, logs=logs)

    async def destroy(self) -> None:
        """Remove containers, links and all else; may be called twice."""
        await self._agents.close()
        await self._lab.destroy()

    async def leave(self) -> None:
        """Let go of a detached lab: it stays up, for other commands to change and to destroy."""
        await self._agents.close()
        self._lab.leave()

    def _write_configuration(self, node: NodePlan) -> None:
        runtime = self._sockets[node.name]
        runtime.mkdir(parents=True, exist_ok=True)
        self._node_directory(node.name).mkdir(parents=True, exist_ok=True)
        peers = {
            peer.name: {"public_key": peer.public_key.hex(), "host": peer.host, "port": peer.port}
            for peer in self._plan.peers_of(node.name)
        }
        configuration = {
            "name": node.name,
            "private_key": node.private_key.hex(),
            # Not 0.0.0.0: a node of several interfaces answers from the address that its peers know.
            "listen": {"host": node.host, "port": node.port},
            "peers": peers,
            "control": {"unix": f"{_RUNTIME}/control.sock"},
            "key_log": f"{_RESULTS}/keys.log",
            "files_directory": f"{_RESULTS}/files",
            "results_directory": f"{_RESULTS}/received",
            # The kernel must not drop a damaged datagram before the transport's own check sees it.
            "no_udp_checksum": any(link.forward.corrupt or link.reverse.corrupt for link in self._plan.links),
            "transport": dict(node.transport),
            **({"qlog_directory": f"{_RESULTS}/qlog"} if self._plan.qlog else {}),
        }
        (runtime / "agent.json").write_text(json.dumps(configuration), encoding="utf-8")

    def _start(self, node: NodePlan) -> None:
        """Start a node's container, and note its network namespace."""
        labels = {
            **self._plan.labels,
            LAB_LABEL: self._plan.name,
            RUN_LABEL: self._lab.record.run_id,
            NODE_LABEL: node.name,
        }
        with _engine() as engine:
            container = engine.containers.run(
                self._image,
                ["--config", f"{_RUNTIME}/agent.json"],
                name=self._containers[node.name],
                hostname=node.name,
                labels=labels,
                network_mode="none",
                # The agent binds to the address that the wiring gives the node a moment later.
                sysctls={
                    "net.ipv4.ip_nonlocal_bind": "1",
                    **({"net.ipv6.ip_nonlocal_bind": "1"} if node.ipv6 else {}),
                },
                init=True,
                # The runner asks the agents itself; an engine's check starts a Python every few seconds.
                healthcheck={"test": ["NONE"]},
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                read_only=True,
                tmpfs={"/tmp": ""},
                mounts=[
                    Mount(_RUNTIME, str(self._sockets[node.name]), type="bind"),
                    Mount(_RESULTS, str(self._node_directory(node.name)), type="bind"),
                ],
                detach=True,
            )
            container.reload()
            pid = int(container.attrs["State"]["Pid"])
        if pid == 0:
            raise BackendError(f"node {node.name}: its container ended at once: {_last_words(container)}")
        self._namespaces[node.name] = Path(f"/proc/{pid}/ns/net")

    async def _connect(self, node: str) -> ControlClient:
        """Reach an agent as soon as it listens."""
        path = str(self._sockets[node] / "control.sock")
        deadline = time.monotonic() + AGENT_TIME_LIMIT
        while True:
            try:
                return await ControlClient.connect_unix(path)
            except ControlError:
                if time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(_POLL_SECONDS)

    def _set_state(self, node: str, state: NodeState) -> None:
        with _engine() as engine:
            container = _labelled(engine, self._lab.record.run_id, f"{NODE_LABEL}={node}")[0]
            match state:
                case NodeState.STOPPED if container.status in ("running", "paused"):
                    container.kill()
                case NodeState.STOPPED:
                    pass  # it is, or it ended by itself
                case NodeState.PAUSED if container.status != "paused":
                    container.pause()
                case NodeState.RUNNING if container.status == "paused":
                    container.unpause()
                case NodeState.RUNNING if container.status != "running":
                    raise BackendError(f"node {node} was stopped, and its links went with it: deploy again")

    def _fetch_logs(self) -> list[Path]:
        with _engine() as engine:
            containers = _labelled(engine, self._lab.record.run_id)
            said = {container.labels[NODE_LABEL]: container.logs() for container in containers}
        directory = self._directory / "logs"
        directory.mkdir(parents=True, exist_ok=True)
        for node, text in said.items():
            (directory / f"{node}.log").write_bytes(text)
        return [directory / f"{node}.log" for node in said]

    def _node_directory(self, node: str) -> Path:
        return self._directory / "nodes" / node

    def _key_log(self, node: str) -> Path:
        return self._node_directory(node) / "keys.log"


def remove_labelled(run_id: str) -> None:
    """Remove the containers of a run, found by label; nothing happens if there are none.

    Raises:
        BackendError: one cannot be removed.
    """
    with _engine() as engine:
        for _ in range(_LOOKS):
            for container in _labelled(engine, run_id):
                try:
                    container.remove(force=True, v=True)
                except NotFound:
                    continue
            # A killed orchestrator may have asked for one more, which the engine does not list yet.
            time.sleep(_LOOK_AGAIN_SECONDS)


def _labelled(engine: docker.DockerClient, run_id: str, *labels: str) -> list[Container]:
    wanted = [f"{RUN_LABEL}={run_id}", *labels]
    return engine.containers.list(all=True, filters={"label": wanted}, ignore_removed=True)


def _ensure_image() -> str:
    """Return the id of the node image, built if there is none or its sources have changed since."""
    with _engine() as engine:
        if _image_problem(engine):
            if not _has_image(engine, BASE_IMAGE):
                engine.images.pull(BASE_IMAGE)
            directory = source_directory()
            labels = {SOURCE_LABEL: node_source_digest(directory)}
            engine.images.build(path=str(directory), target="node", tag=NODE_IMAGE, labels=labels, rm=True)
        return str(engine.images.get(NODE_IMAGE).id)


def _image_problem(engine: docker.DockerClient) -> str:
    """Return why the node image must be built, empty if it is good as it is."""
    try:
        image = engine.images.get(NODE_IMAGE)
    except ImageNotFound:
        return "there is none"
    try:
        wanted = node_source_digest(source_directory())
    except EnvironmentMissingError:
        return ""  # an installed package has no sources to compare with
    return "" if image.labels.get(SOURCE_LABEL) == wanted else "its sources have changed"


def _has_image(engine: docker.DockerClient, name: str) -> bool:
    try:
        engine.images.get(name)
    except ImageNotFound:
        return False
    return True


def _no_base_image() -> Problem:
    return Problem(
        f"the image {NODE_IMAGE} must be built, and its base {BASE_IMAGE} is not on this machine",
        f"docker pull {BASE_IMAGE}; without a registry: tests/lanes/scripts/base-images.sh {BASE_IMAGE}",
    )


def _last_words(container: Container) -> str:
    return container.logs(tail=5).decode(errors="replace").strip() or "it said nothing"


@contextmanager
def _engine() -> Iterator[docker.DockerClient]:
    """Give a client of the engine; what the engine refuses becomes a BackendError.

    Raises:
        EnvironmentMissingError: no engine answers.
        BackendError: it refused something inside the block.
    """
    try:
        _knock()
        engine = docker.from_env(timeout=ENGINE_TIME_LIMIT)
    except (DockerException, OSError) as error:
        raise EnvironmentMissingError(f"no Docker engine answers: {error}") from error
    try:
        yield engine
    except (DockerException, OSError) as error:  # the SDK lets errors of the connection through: OSError
        raise BackendError(f"Docker: {error}") from error
    finally:
        engine.close()


def _knock() -> None:
    """Find out whether anybody listens at the engine's Unix socket (OSError: nobody does).

    The SDK leaves the socket of each failed try open until it is collected.
    """
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
            knocking.settimeout(ENGINE_TIME_LIMIT)
            knocking.connect(host.removeprefix("unix://"))
