"""Agents as processes in the namespaces of a lab: start, watch, talk to, pause and stop them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.control.client import ControlClient, ControlError
from node.control.messages import Command, NodeEvent, Reply
from orchestrator.errors import BackendError
from orchestrator.executor import Process, time_limit
from orchestrator.topology.model import NodeKind
from orchestrator.topology.plan import DeploymentPlan, NodePlan
from orchestrator.wiring.forkserver import Wanted
from orchestrator.wiring.lab import Lab
from orchestrator.wiring.state import socket_directory

#: For one; many have more (`time_limit`).
READY_TIMEOUT_SECONDS = 120.0
_POLL_SECONDS = 0.02
#: How often it is looked whether one that is waited for has ended.
_LOOK_AT_ENDS_SECONDS = 0.5
#: An agent says goodbye within its own limit of a second.
STOP_SECONDS = 3.0


class Agent:
    """A node's agent; it can be started again after it was stopped.

    Args:
        node: whose agent.
        lab: where it runs.
        directory: where the run's files go.
        events: takes what the agent reports; also an ``exited`` event (exit_code, log) if it ends unasked.
    """

    def __init__(
        self, node: NodePlan, lab: Lab, directory: Path, events: asyncio.Queue[NodeEvent | None]
    ) -> None:
        self.node = node
        #: Its control socket.
        self.control = Path(lab.record.node(node.name).control)
        self._lab = lab
        self._directory = directory
        self._events = events
        self._process: Process | None = None
        self._client: ControlClient | None = None
        self._paused = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def log(self) -> Path:
        """The file with what it writes."""
        return self._directory / "logs" / f"{self.node.name}.log"

    @property
    def key_log(self) -> Path:
        """The file with the keys of its connections."""
        return self._directory / f"{self.node.name}.keylog"

    def start(self) -> None:
        """Start the process; ``wait_ready`` follows.

        Raises:
            BackendError: it cannot be started.
        """
        start_all([self])

    def prepare(self) -> Wanted:
        """Write its configuration, and return what is to be started."""
        self._paused = False
        self.control.unlink(missing_ok=True)
        configuration = self.control.with_suffix(".json")
        directory = self._directory.absolute()
        places = AgentPlaces(
            control=str(self.control),
            key_log=str(directory / f"{self.node.name}.keylog"),
            files=str(directory / "files"),
            received=str(directory / "received" / self.node.name),
            qlog=str(directory / "qlog" / self.node.name),
        )
        text = json.dumps(agent_configuration(self._lab.plan, self.node, places))
        # It holds the node's private key.
        descriptor = os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        return Wanted(
            f"agent of {self.node.name}",
            "node",
            ("--config", str(configuration)),
            self._lab.namespace(self.node.name),
            self.log,
            f"agent {self.node.name}",
            # What an agent keeps for itself goes when the lab goes, even if the agent is killed.
            {"TMPDIR": str(self.control.parent)},
        )

    @property
    def lab(self) -> Lab:
        """Where it runs."""
        return self._lab

    def started_as(self, process: Process) -> None:
        """Take the process that was started as what ``prepare`` said."""
        self._process = process

    async def wait_ready(self) -> None:
        """Wait until the agent answers.

        Raises:
            BackendError: it has ended, or does not answer in READY_TIMEOUT_SECONDS.
        """
        assert self._process is not None
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while True:
            if self._process.poll() is not None:
                raise BackendError(self._ended())
            try:
                self._client = await ControlClient.connect_unix(str(self.control))
                break
            except ControlError as error:
                if time.monotonic() > deadline:
                    raise BackendError(
                        f"the agent of {self.node.name} does not come up: {error}\n{self._process.tail()}"
                    ) from error
            await asyncio.sleep(_POLL_SECONDS)
        self._tasks = [
            asyncio.create_task(self._forward(self._client)),
            asyncio.create_task(self._watch(self._process)),
        ]
        reply = await self.request(Command("status"))
        if not reply.ok:
            raise BackendError(f"the agent of {self.node.name} is not ready: {reply.error}")

    async def request(self, command: Command) -> Reply:
        """Hand it a command and return its reply.

        Raises:
            BackendError: it is stopped or paused, or it has ended or does not answer; then the message
                holds the end of its log.
        """
        if self._client is None:
            raise BackendError(f"node {self.node.name} is stopped: set it to running first")
        if self._paused:
            raise BackendError(f"node {self.node.name} is paused: set it to running first")
        try:
            return await self._client.request(command)
        except ControlError as error:
            raise BackendError(f"{self._ended()}\n{error}") from error

    def pause(self) -> None:
        """Let it get no CPU."""
        if self._process is not None:
            self._paused = True
            self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._paused = False
        if self._process is not None:
            self._process.send(signal.SIGCONT)

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None

    async def kill(self) -> None:
        """End it at once, as a power cut does."""
        process, self._process = self._process, None
        await self.disconnect()
        if process is not None:
            process.send(signal.SIGKILL)
            await process.wait()

    async def stop(self, *, grace_seconds: float = STOP_SECONDS) -> None:
        """Let it end in good order, in the time that is given."""
        process, self._process = self._process, None
        await self.disconnect()
        if process is not None:
            await process.stop(grace_seconds=grace_seconds)

    async def disconnect(self) -> None:
        """Stop listening to it; it goes on."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _forward(self, client: ControlClient) -> None:
        async for event in client.events():
            self._events.put_nowait(event)

    async def _watch(self, process: Process) -> None:
        code = await process.wait()
        data = {"exit_code": code, "log": process.tail()}
        self._events.put_nowait(NodeEvent(self.node.name, "exited", time.monotonic_ns(), data))

    def _ended(self) -> str:
        process = self._process
        code = process.poll() if process is not None else None
        state = "does not answer" if code is None else f"has ended with exit code {code}"
        return f"the agent of {self.node.name} {state}; its log ends:\n{process.tail() if process else ''}"


def start_all(agents: Sequence[Agent]) -> None:
    """Start the processes of agents of one lab, all in one request; ``wait_ready`` follows.

    Raises:
        BackendError: they cannot be started.
    """
    if not agents:
        return
    started = agents[0].lab.spawn([agent.prepare() for agent in agents])
    for agent, process in zip(agents, started, strict=True):
        agent.started_as(process)


async def stop_all(agents: Collection[Agent]) -> None:
    """Let all agents of a lab end in good order: a thousand at once have more than one's time for it."""
    grace = time_limit(STOP_SECONDS, len(agents))
    await asyncio.gather(*(agent.stop(grace_seconds=grace) for agent in agents))


async def wait_all_ready(agents: Sequence[Agent]) -> None:
    """Wait until all agents of a lab answer: one look into their directory for all of them, no poll of each.

    Raises:
        BackendError: one has ended, or does not answer in time.
    """
    limit = time_limit(READY_TIMEOUT_SECONDS, len(agents))
    waiting = {agent.control: agent for agent in agents}
    deadline = time.monotonic() + limit
    look_at_ends = time.monotonic() + _LOOK_AT_ENDS_SECONDS
    asked: list[asyncio.Task[None]] = []
    try:
        while waiting:
            now = time.monotonic()
            directories = {control.parent for control in waiting}
            there = {place / name for place in directories for name in os.listdir(place)}
            ready = waiting.keys() & there
            if now >= look_at_ends:
                look_at_ends = now + _LOOK_AT_ENDS_SECONDS
                ready |= {control for control, agent in waiting.items() if not agent.runs}
            if now >= deadline:
                names = ", ".join(agent.node.name for agent in waiting.values())
                raise BackendError(f"agents do not come up in {limit:.0f} s: {names:.200}")
            asked += [asyncio.create_task(waiting.pop(control).wait_ready()) for control in ready]
            for task in asked:
                if task.done():
                    task.result()
            await asyncio.sleep(_POLL_SECONDS)
        await asyncio.gather(*asked)
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


def control_sockets(run_id: str, plan: DeploymentPlan) -> dict[str, Path]:
    """Return the paths of the hosts' control sockets, by node: short, whatever the nodes are called."""
    directory = socket_directory(run_id)
    return {
        node.name: directory / f"node{index}.sock"
        for index, node in enumerate(plan.nodes)
        if node.kind is NodeKind.HOST
    }


@dataclass(frozen=True, slots=True)
class AgentPlaces:
    """Where an agent finds and leaves files, as it sees them itself."""

    #: Its control socket.
    control: str
    key_log: str
    #: Directories: of what it sends, of what it receives, of its traces.
    files: str
    received: str
    qlog: str


def agent_configuration(plan: DeploymentPlan, node: NodePlan, places: AgentPlaces) -> dict[str, object]:
    """Return what an agent is told at its start (node.agent.configuration)."""
    corrupts = any(link.forward.corrupt or link.reverse.corrupt for link in plan.links)
    return {
        "name": node.name,
        "private_key": node.private_key.hex(),
        # Not 0.0.0.0: a node of several interfaces answers from the address that its peers know.
        "listen": {"host": node.host, "port": node.port},
        "peers": {
            other.name: {"public_key": other.public_key.hex(), "host": other.host, "port": other.port}
            for other in plan.peers_of(node.name)
        },
        "control": {"unix": places.control},
        "key_log": places.key_log,
        "files_directory": places.files,
        "results_directory": places.received,
        # The kernel must not drop a damaged datagram before the transport's own check sees it.
        "no_udp_checksum": corrupts,
        "transport": dict(node.transport),
        **({"qlog_directory": places.qlog} if plan.qlog else {}),
    }
