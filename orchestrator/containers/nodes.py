"""The containers of a lab: started, found by their labels, and removed by these.

Each has a network namespace without anything in it, which the wiring adopts. Its agent listens at a Unix
socket in a directory that both sides see.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import docker
from docker.errors import APIError, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import Mount

from orchestrator.backends.base import NodeState
from orchestrator.containers.building import ensure_image
from orchestrator.containers.engine import connected
from orchestrator.containers.equipment import Equipment
from orchestrator.errors import BackendError
from orchestrator.images import IMAGE_LABEL, LAB_LABEL, NODE_LABEL, RUN_LABEL
from orchestrator.topology.plan import DeploymentPlan, NodePlan
from orchestrator.wiring.agents import AgentPlaces, agent_configuration
from orchestrator.wiring.state import socket_directory

#: Seconds until an agent in a container that has just started listens, with a hundred more on two cores.
AGENT_TIME_LIMIT = 180.0
_POLL_SECONDS = 0.02
#: How often it is looked whether one that is waited for has ended.
_LOOK_AT_ENDS_SECONDS = 0.5
#: Containers that are removed at once: each waits for the kernel most of the time.
_REMOVALS_AT_ONCE = 8
#: How often, and after how long, the engine is asked again whether a container of a run is left.
_LOOKS = 2
_LOOK_AGAIN_SECONDS = 0.2
#: How often it is asked for one that somebody else removes: a minute.
_REMOVAL_LOOKS = 300
#: Where a container sees its configuration and control socket, and its part of the results.
_RUNTIME = "/run/narrows"
_RESULTS = "/results"
_INSIDE = AgentPlaces(
    control=f"{_RUNTIME}/control.sock",
    key_log=f"{_RESULTS}/keys.log",
    files=f"{_RESULTS}/files",
    received=f"{_RESULTS}/received",
    qlog=f"{_RESULTS}/qlog",
)


@dataclass(frozen=True, slots=True)
class Containers:
    """The containers of one lab, by the names of their nodes.

    Args:
        run_id: of the lab.
        directory: where its files go, absolute.
    """

    run_id: str
    directory: Path

    def name(self, node: str) -> str:
        """Return what a node's container is called."""
        return f"nw-{self.run_id}-{node}"

    def control(self, node: str) -> Path:
        """Return a node's control socket as this machine sees it."""
        return socket_directory(self.run_id) / node / "control.sock"

    def results(self, node: str) -> Path:
        """Return where a node's part of the results lies on this machine."""
        return self.directory / "nodes" / node

    def key_log(self, node: str) -> Path:
        """Return the file with the keys of a node's connections."""
        return self.results(node) / "keys.log"

    def write_configuration(self, plan: DeploymentPlan, node: NodePlan) -> None:
        """Write what a node's agent is told at its start (OSError: it cannot be written)."""
        runtime = self.control(node.name).parent
        runtime.mkdir(parents=True, exist_ok=True)
        self.results(node.name).mkdir(parents=True, exist_ok=True)
        text = json.dumps(agent_configuration(plan, node, _INSIDE))
        # It holds the node's private key.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with open(os.open(runtime / "agent.json", flags, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)

    def start(self, engine: docker.DockerClient, image: str, plan: DeploymentPlan, node: NodePlan) -> Path:
        """Start a node's container and return the path of its network namespace.

        Raises:
            BackendError: it ended at once.
            DockerException: the engine refuses.
        """
        try:
            container = self._create(engine, image, plan, node)
        except ImageNotFound:
            # Another checkout has built an image of that name since, and removed the one that had it.
            container = self._create(engine, ensure_image(plan), plan, node)
        container.start()
        container.reload()
        pid = int(container.attrs["State"]["Pid"])
        if pid == 0:
            raise BackendError(self._ended(node.name))
        return network_of(pid)

    def _create(
        self, engine: docker.DockerClient, image: str, plan: DeploymentPlan, node: NodePlan
    ) -> Container:
        equipment = Equipment.given(plan, node.name)
        return engine.containers.create(
            image,
            ["--config", f"{_RUNTIME}/agent.json"],
            name=self.name(node.name),
            hostname=node.name,
            labels={
                **plan.labels,
                LAB_LABEL: plan.name,
                RUN_LABEL: self.run_id,
                NODE_LABEL: node.name,
                IMAGE_LABEL: equipment.image,
            },
            network_mode="none",
            sysctls=equipment.sysctls,
            init=True,
            # The runner asks the agents itself; an engine's check starts a Python every few seconds.
            healthcheck={"test": ["NONE"]},
            cap_drop=["ALL"],
            cap_add=sorted(equipment.capabilities),
            security_opt=["no-new-privileges"],
            read_only=True,
            tmpfs={"/tmp": ""},
            mounts=[
                Mount(_RUNTIME, str(self.control(node.name).parent), type="bind"),
                Mount(_RESULTS, str(self.results(node.name)), type="bind"),
            ],
        )

    async def wait_until_listening(self, networks: Mapping[str, Path]) -> None:
        """Wait until there are control sockets: looking for them costs less than trying each.

        Args:
            networks: node → path of the network namespace that its container was started with.

        Raises:
            BackendError: a container has ended, or its agent does not listen in AGENT_TIME_LIMIT.
        """
        now = asyncio.get_running_loop().time
        waiting, deadline, look_at_ends = dict(networks), now() + AGENT_TIME_LIMIT, now()
        while waiting := {node: path for node, path in waiting.items() if not self.control(node).exists()}:
            if now() >= look_at_ends:
                look_at_ends = now() + _LOOK_AT_ENDS_SECONDS
                for node in (node for node, path in waiting.items() if not path.exists()):
                    raise BackendError(await asyncio.to_thread(self._ended, node))
            if now() >= deadline:
                names = ", ".join(waiting)
                raise BackendError(f"agents do not come up in {AGENT_TIME_LIMIT:.0f} s: {names:.200}")
            await asyncio.sleep(_POLL_SECONDS)

    def _ended(self, node: str) -> str:
        with connected() as engine:
            said = engine.containers.get(self.name(node)).logs(tail=5).decode(errors="replace").strip()
        return f"node {node}: its container ended at once: {said or 'it said nothing'}"

    def set_state(self, node: str, state: NodeState) -> None:
        """Pause a container, go on with it, or kill it.

        Raises:
            BackendError: it was killed before, or the engine refuses.
        """
        with connected() as engine:
            container = engine.containers.get(self.name(node))
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

    def fetch_logs(self) -> list[Path]:
        """Write what each container said into a file of its own, and return these files."""
        directory = self.directory / "logs"
        directory.mkdir(parents=True, exist_ok=True)
        with connected() as engine:
            written = {}
            for container in _labelled(engine, self.run_id):
                node = container.attrs["Labels"][NODE_LABEL]
                written[node] = directory / f"{node}.log"
                written[node].write_bytes(container.logs())
        return list(written.values())


def network_of(pid: int) -> Path:
    """Return the path of the network namespace of a process."""
    return Path(f"/proc/{pid}/ns/net")


def remove_labelled(run_id: str, nodes: Collection[str] | None = None) -> None:
    """Remove the containers of a run, found by label; nothing happens if there are none.

    Args:
        run_id: of the lab.
        nodes: only those of these nodes; None: all.

    Raises:
        BackendError: one cannot be removed.
    """
    with connected() as engine, ThreadPoolExecutor(_REMOVALS_AT_ONCE) as pool:
        for look in range(_LOOKS):
            if look:
                # A killed orchestrator may have asked for one more, which the engine does not list yet.
                time.sleep(_LOOK_AGAIN_SECONDS)
            found = _labelled(engine, run_id)
            gone = [
                container
                for container in found
                if nodes is None or container.attrs["Labels"].get(NODE_LABEL) in nodes
            ]
            list(pool.map(_remove, gone))


def _remove(container: Container) -> None:
    # While somebody else does it, for as long as that takes: the engine goes on also for one that was killed
    # meanwhile. It is asked again and again, for its own waiting never ended once, of what was gone by then.
    for _ in range(_REMOVAL_LOOKS):
        try:
            container.remove(force=True, v=True)
            return
        except NotFound:
            return  # somebody was faster
        except APIError as error:
            if error.status_code != HTTPStatus.CONFLICT:
                raise
        time.sleep(_LOOK_AGAIN_SECONDS)
    raise BackendError(
        f"container {container.short_id}: the engine does not get it removed, as somebody asked it to; "
        "look at `docker ps -a` and the engine's log, and try again"
    )


def _labelled(engine: docker.DockerClient, run_id: str) -> list[Container]:
    # Sparse: one question, and not one more for each container.
    return engine.containers.list(all=True, filters={"label": [f"{RUN_LABEL}={run_id}"]}, sparse=True)
