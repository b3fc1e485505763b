"""Real agents in namespaces: transfers, crashes, pauses; nothing ever hangs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from node.control.messages import Command, NodeEvent
from orchestrator.backends.base import BACKENDS, NodeState
from orchestrator.backends.netns import NetnsBackend, NetnsDeployment
from orchestrator.errors import BackendError
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.wiring import namespaces
from orchestrator.wiring.journal import read_entries
from tests.netns.labs import LINE, PATIENCE_SECONDS, SHAPED_PAIR, left_over, new_run_id, plan_of

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.fixture
def run_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    return new_run_id()


def with_deployment(
    plan: DeploymentPlan, run_id: str, directory: Path, body: Callable[[NetnsDeployment], Awaitable[None]]
) -> None:
    """Deploy, do something, destroy, and find nothing left."""

    async def whole() -> None:
        deployment = await NetnsBackend().deploy(plan, run_id=run_id, directory=directory)
        try:
            await asyncio.wait_for(body(deployment), 10 * PATIENCE_SECONDS)
        finally:
            await deployment.destroy()
            await deployment.destroy()

    asyncio.run(whole())
    assert left_over(run_id) == []


async def transfer(deployment: NetnsDeployment) -> list[NodeEvent]:
    """Run the plan's first workload; return how both ends saw it finish."""
    (flow,) = deployment.lab.plan.workloads
    for role, node, peer in (("target", flow.target, flow.source), ("source", flow.source, flow.target)):
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
    finished: list[NodeEvent] = []
    async for event in deployment.events():
        finished += [event] if event.kind == "flow_finished" else []
        if len(finished) == 2:
            break
    return finished


def test_a_file_crosses_and_the_artefacts_are_collected(run_id: str, tmp_path: Path) -> None:
    async def body(deployment: NetnsDeployment) -> None:
        one, other = await transfer(deployment)
        assert one.data["ok"]
        assert one.data["bytes"] == other.data["bytes"] == 200_000
        assert one.data["sha256"] == other.data["sha256"]
        collected = await deployment.collect(tmp_path)
        (captures,) = collected.captures.values()
        assert captures[0].stat().st_size > 200_000
        assert sorted(path.name for path in collected.key_logs) == ["left.keylog", "right.keylog"]
        assert {"left.log", "right.log"} <= {path.name for path in collected.logs}

    with_deployment(plan_of(SHAPED_PAIR), run_id, tmp_path, body)


def test_a_crashed_agent_is_reported_with_the_end_of_its_log(run_id: str, tmp_path: Path) -> None:
    async def body(deployment: NetnsDeployment) -> None:
        (pid,) = [
            entry.number("pid")
            for entry in read_entries(run_id)
            if (entry.kind, entry.text("what")) == ("process", "agent of left")
        ]
        os.kill(pid, signal.SIGKILL)
        async for event in deployment.events():
            if event.kind == "exited":
                break
        else:
            pytest.fail("the end of the agent was not reported")
        assert (event.node, event.data["exit_code"]) == ("left", -signal.SIGKILL)
        with pytest.raises(
            BackendError, match=r"left has ended with exit code -9; its log ends:\n(?s:.*)listens at"
        ):
            await deployment.request("left", Command("status"))
        # It can be started again.
        await deployment.set_node_state("left", NodeState.RUNNING)
        assert (await deployment.request("left", Command("status"))).ok

    with_deployment(plan_of(SHAPED_PAIR), run_id, tmp_path, body)


def test_a_node_can_be_paused_stopped_and_run_again(run_id: str, tmp_path: Path) -> None:
    async def body(deployment: NetnsDeployment) -> None:
        await deployment.set_node_state("right", NodeState.PAUSED)
        await deployment.set_node_state("right", NodeState.RUNNING)
        assert (await deployment.request("right", Command("status"))).ok
        await deployment.set_node_state("right", NodeState.STOPPED)
        with pytest.raises(BackendError, match="node right is stopped"):
            await deployment.request("right", Command("status"))
        await deployment.set_node_state("right", NodeState.RUNNING)
        one, other = await transfer(deployment)
        assert one.data["ok"]
        assert other.data["ok"]

    with_deployment(plan_of(SHAPED_PAIR), run_id, tmp_path, body)


def test_a_stopped_router_forwards_nothing(run_id: str, tmp_path: Path) -> None:
    async def body(deployment: NetnsDeployment) -> None:
        forwarding = Path("/proc/sys/net/ipv4/ip_forward")
        path = deployment.lab.namespace("middle")
        for state, value in ((NodeState.STOPPED, "0"), (NodeState.RUNNING, "1")):
            await deployment.set_node_state("middle", state)
            assert namespaces.inside({path: forwarding.read_text})[path].strip() == value
        with pytest.raises(BackendError, match="no host 'middle' in this lab: use one of left, right"):
            await deployment.request("middle", Command("status"))

    with_deployment(plan_of(LINE), run_id, tmp_path, body)


def test_an_agent_that_cannot_start_fails_the_deployment_and_leaves_nothing(
    run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory stands where the agent wants to write its keys."""
    monkeypatch.setattr("orchestrator.wiring.agents.READY_TIMEOUT_SECONDS", PATIENCE_SECONDS)
    (tmp_path / "left.keylog").mkdir(parents=True)
    with pytest.raises(BackendError, match="the agent of left has ended with exit code"):
        asyncio.run(NetnsBackend().deploy(plan_of(SHAPED_PAIR), run_id=run_id, directory=tmp_path))
    assert left_over(run_id) == []


def test_the_backend_is_registered_and_can_run_here() -> None:
    assert BACKENDS["netns"] is NetnsBackend
    assert NetnsBackend().check() == []


@pytest.mark.parametrize("turns", [1, 3, 6, 10, 20, 40])
def test_a_cancelled_deployment_leaves_nothing(run_id: str, tmp_path: Path, turns: int) -> None:
    """Ctrl-C while commands are under way in threads, which nobody can cancel."""

    async def whole() -> None:
        deploying = asyncio.create_task(
            NetnsBackend().deploy(plan_of(LINE), run_id=run_id, directory=tmp_path)
        )
        for _ in range(turns):
            await asyncio.sleep(0.02)
        deploying.cancel()
        try:
            await (await deploying).destroy()
        except asyncio.CancelledError:
            pass  # the usual case; on an idle machine the last may be up already

    asyncio.run(whole())
    assert left_over(run_id) == []
