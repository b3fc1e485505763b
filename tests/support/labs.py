"""Labs on any back end: made, used and found to have left nothing behind."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

from node.control.messages import Command, NodeEvent
from orchestrator.backends.base import Backend, Deployment
from orchestrator.images import RUN_LABEL
from orchestrator.topology.model import WorkloadSpec
from orchestrator.topology.plan import DeploymentPlan
from tests.netns.labs import left_over

#: What a scenario may take at most, in real seconds: for whoever hangs. The machine is shared.
PATIENCE_SECONDS = 240.0

Scenario = Callable[[Deployment], Awaitable[None]]


def new_run_id() -> str:
    """A run id that nobody else has."""
    return secrets.token_hex(4)


def in_lab(
    backend: Backend, plan: DeploymentPlan, directory: Path, scenario: Scenario, *, capture: bool = False
) -> None:
    """Deploy, do something, destroy twice, and find nothing left."""
    run_id = new_run_id()

    async def whole() -> None:
        deployment = await backend.deploy(plan, run_id=run_id, directory=directory, capture=capture)
        try:
            await asyncio.wait_for(scenario(deployment), PATIENCE_SECONDS)
        finally:
            await deployment.destroy()
            await deployment.destroy()

    before = open_files()
    asyncio.run(whole())
    assert traces(backend, run_id) == []
    assert open_files() <= before


def traces(backend: Backend, run_id: str) -> list[str]:
    """Everything of a run that this machine still holds."""
    found = left_over(run_id)
    state = Path(os.environ["NARROWS_STATE"])
    if state.is_dir():
        found += [f"journal {path}" for path in state.iterdir() if run_id in path.name]
    if backend.name == "docker":
        argv = ["docker", "ps", "--all", "--quiet", "--filter", f"label={RUN_LABEL}={run_id}"]
        listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
        found += [f"container {name}" for name in listed]
    return found


def open_files() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


async def start(deployment: Deployment, flow: WorkloadSpec) -> None:
    """Start a flow at both of its ends, the target first."""
    for node, role, peer in ((flow.target, "target", flow.source), (flow.source, "source", flow.target)):
        arguments = {
            "flow": flow.name,
            "workload": flow.kind,
            "role": role,
            "peer": peer,
            "options": dict(flow.options),
            "transport": dict(flow.transport),
        }
        reply = await deployment.request(node, Command("start_flow", arguments))
        assert reply.ok, reply.error


async def until(
    deployment: Deployment, over: Callable[[NodeEvent], bool], *, count: int = 1
) -> list[NodeEvent]:
    """The events from now on until so many are what is waited for; all of them."""
    seen: list[NodeEvent] = []
    async for event in deployment.events():
        seen.append(event)
        count -= over(event)
        if count == 0:
            return seen
    raise AssertionError(f"the events ended with {[event.kind for event in seen]}")


def is_finished(event: NodeEvent) -> bool:
    """Whether an end of a flow reports its end."""
    return event.kind == "flow_finished"


async def finished(deployment: Deployment) -> list[NodeEvent]:
    """How both ends of the next flow saw it finish."""
    return [event for event in await until(deployment, is_finished, count=2) if is_finished(event)]
