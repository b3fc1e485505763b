"""What every back end keeps, whatever its labs are made of; a new one is tested by being registered."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from node.capture.pcapng import Capture
from node.control.messages import Command, NodeEvent
from node.links.impairments.base import IMPAIRMENTS
from node.links.settings import NONE
from node.protocol.time import MILLISECOND, SECOND, Duration
from orchestrator.backends.base import BACKENDS, Backend, Capabilities, Deployment, NodeState
from orchestrator.errors import BackendError, NotSupportedError
from orchestrator.executor import RUN_VARIABLE
from orchestrator.experiment import selection
from orchestrator.experiment.calibration import calibrate
from orchestrator.experiment.runner import run
from orchestrator.probes.wire import verify
from orchestrator.simulation.packet import from_frame
from orchestrator.topology.calibrating import Calibrate
from orchestrator.topology.load import load
from orchestrator.topology.model import LinkEndpoint, WorkloadSpec
from orchestrator.topology.planning import make_plan
from tests.netns.labs import plan_of
from tests.support.command import ROOT
from tests.support.companions import COMPANIONS
from tests.support.labs import (
    PATIENCE_SECONDS,
    finished,
    in_lab,
    is_finished,
    new_run_id,
    open_files,
    start,
    traces,
    until,
)
from tests.support.topologies import bulk, impaired, line, line_topology

T = TypeVar("T")

#: What a back end demands of the machine, so that lanes select its tests; one not named demands nothing.
DEMANDS = {
    "netns": [pytest.mark.netns, pytest.mark.slow],
    "docker": [pytest.mark.docker, pytest.mark.netns, pytest.mark.slow],
}
PLAN = line(impaired(delay="2ms", rate="20Mbit", queue="100p"), impaired(delay="1ms"))
#: What b sends to c leaves over its second link.
TWO_LINKS = plan_of(
    """
name: two-links
topology:
  defaults: {netem: {delay: 1ms}}
  nodes: {a: {}, b: {}, c: {}, r1: {kind: router}, r2: {kind: router}}
  links:
    - endpoints: ["a:eth1", "r1:eth1"]
    - endpoints: ["b:eth1", "r1:eth2"]
    - endpoints: ["b:eth2", "r2:eth2"]
    - endpoints: ["c:eth1", "r2:eth1"]
    - endpoints: ["r1:eth3", "r2:eth3"]
"""
)
ENDPOINTS = [end for link in PLAN.links for end in (link.a, link.b)]
A_OUT = LinkEndpoint("a", "eth1")
#: Longer than a flow of these tests takes that is not held up.
QUIET: Duration = 1 * SECOND


@pytest.fixture(params=[pytest.param(name, marks=DEMANDS.get(name, [])) for name in BACKENDS.names()])
def backend(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    made = BACKENDS[request.param]()
    problems = made.check()
    if problems:
        pytest.skip("; ".join(f"{problem.what}: {problem.remedy}" for problem in problems))
    return made


def test_a_flow_arrives_and_what_is_collected_can_be_verified(backend: Backend, tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        for node in ("a", "b"):
            reply = await deployment.request(node, Command("status"))
            assert reply.ok, reply.error
        began = deployment.now()
        await deployment.sleep(10 * MILLISECOND)
        assert deployment.now() >= began + 10 * MILLISECOND
        await start(deployment, bulk(200_000))
        seen = await until(deployment, is_finished, count=2)
        source, target = (event.data for event in seen if is_finished(event))
        assert source["ok"]
        assert target["ok"]
        assert source["bytes"] == target["bytes"] == 200_000
        assert source["sha256"] == target["sha256"]
        assert_in_order(seen)
        assert all(event.time <= deployment.now() for event in seen)
        await deployment.sleep(300 * MILLISECOND)
        collected = await deployment.collect(tmp_path / "run")
        assert sorted(collected.captures) == sorted(link.name for link in PLAN.links)
        files = [*collected.key_logs, *collected.logs, *(p for ps in collected.captures.values() for p in ps)]
        assert all(path.is_relative_to(tmp_path / "run") and path.is_file() for path in files)
        assert len([path for path in collected.key_logs if path.read_text()]) == 2
        report = verify(PLAN, collected)
        assert report.frames > 2 * 200_000 // 1500
        assert [str(violation) for violation in report.violations] == []

    in_lab(backend, PLAN, tmp_path / "run", scenario, capture=True)


def assert_in_order(events: list[NodeEvent]) -> None:
    """Each node's events come in the order of its clock."""
    for node in {event.node for event in events}:
        times = [event.time for event in events if event.node == node]
        assert times == sorted(times), node


def test_impairments_are_replaced_as_a_whole_and_read_back(backend: Backend, tmp_path: Path) -> None:
    able = backend.capabilities().impairments
    sets = [impaired({**COMPANIONS.get(name, {}), name: IMPAIRMENTS[name].example}) for name in sorted(able)]
    sets.append(impaired(delay="20ms", jitter="2ms", loss="1%", duplicate="1%", rate="10Mbit", queue="50p"))
    sets = [found for found in sets if found.to_mapping().keys() <= able]

    async def scenario(deployment: Deployment) -> None:
        for endpoint in ENDPOINTS:
            for wanted in [*sets, NONE, sets[0], NONE]:
                assert await deployment.set_impairments(endpoint, wanted) == wanted
        # Nothing is left of all these: neither a loss nor a rate.
        await start(deployment, bulk(500_000))
        assert all(event.data["ok"] for event in await finished(deployment))

    in_lab(backend, PLAN, tmp_path / "run", scenario)


def test_each_direction_of_each_link_can_be_measured(backend: Backend, tmp_path: Path) -> None:
    """By frames that cross it: what is asked of a lab is not taken on trust, whatever it is made of."""

    async def scenario(deployment: Deployment) -> None:
        virtual = backend.capabilities().virtual_time
        found = await calibrate(deployment, PLAN, Calibrate.WARN, virtual_time=virtual)
        assert {row.sender for row in found.rows} == {str(end) for end in ENDPOINTS}, found.notes
        for end in ENDPOINTS:
            rows = {row.quantity: row for row in found.rows if row.sender == str(end)}
            shaped = {"rate"} if end.node == "a" or str(end) == "r1:eth1" else set()
            assert {"delay", "jitter", "loss", "duplicates", "damage", "reordering"} | shaped <= set(rows)
            delay = rows["delay"]
            assert delay.asked is not None
            assert delay.measured is not None
            assert delay.measured > 0.99 * delay.asked
            assert (rows["loss"].verdict, rows["loss"].measured) == ("ok", 0)

    in_lab(backend, PLAN, tmp_path / "run", scenario)


def test_each_direction_has_impairments_of_its_own(backend: Backend, tmp_path: Path) -> None:
    """With the way back cut the source hears nothing, though all that it sends arrives."""

    async def scenario(deployment: Deployment) -> None:
        for endpoint in ENDPOINTS:
            await deployment.set_impairments(endpoint, NONE)
        back = LinkEndpoint("r1", "eth1")
        await deployment.set_impairments(back, impaired(loss="100%"))
        await start(deployment, bulk(20_000))
        await deployment.sleep(QUIET)
        await deployment.set_impairments(back, NONE)
        ends = await finished(deployment)
        assert all(event.data["ok"] for event in ends)
        assert all(float(str(event.data["seconds"])) > 0.9 for event in ends if event.node == "a")

    in_lab(backend, PLAN, tmp_path / "run", scenario)


def test_a_node_of_two_links_is_reached_over_both(backend: Backend, tmp_path: Path) -> None:
    """Peers know one address of it; it answers from that one, whichever way they come."""

    async def scenario(deployment: Deployment) -> None:
        for source in ("a", "c"):
            await start(
                deployment, WorkloadSpec(f"from-{source}", "bulk", source, "b", {"size": 100_000}, {})
            )
            await start(deployment, WorkloadSpec(f"to-{source}", "bulk", "b", source, {"size": 100_000}, {}))
        seen = await until(deployment, is_finished, count=8)
        assert all(event.data["ok"] for event in seen if is_finished(event))
        await deployment.sleep(300 * MILLISECOND)
        collected = await deployment.collect(tmp_path / "run")
        assert [str(violation) for violation in verify(TWO_LINKS, collected).violations] == []
        files = [path for paths in collected.captures.values() for path in paths]
        packets = [from_frame(bytes(frame.data)) for path in files for frame in Capture.open(path)]
        seen_at = {end[0] for packet in packets if packet for end in (packet.source, packet.destination)}
        assert seen_at == {TWO_LINKS.node(name).ipv4 for name in "abc"}

    in_lab(backend, TWO_LINKS, tmp_path / "run", scenario, capture=True)


@pytest.mark.parametrize("node", ["b", "r1"])
def test_a_flow_stalls_while_a_node_is_paused_and_then_completes(
    backend: Backend, tmp_path: Path, node: str
) -> None:
    async def scenario(deployment: Deployment) -> None:
        await start(deployment, bulk(2_000_000))
        await until(deployment, lambda event: event.kind == "flow_started", count=2)
        await deployment.set_node_state(node, NodeState.PAUSED)
        paused_at = deployment.now()
        await assert_silent(deployment, node)
        await deployment.sleep(3 * SECOND)
        resumed_at = deployment.now()
        assert resumed_at >= paused_at + 3 * SECOND
        await deployment.set_node_state(node, NodeState.RUNNING)
        seen = await until(deployment, is_finished, count=2)
        ends = [event for event in seen if is_finished(event)]
        assert all(event.data["ok"] for event in ends)
        assert all(event.time >= resumed_at for event in ends)
        assert_in_order(seen)

    # 2 MB take a second at least where nothing holds them up.
    plan = line(impaired(delay="2ms", rate="10Mbit", queue="100p"), impaired(delay="1ms"))
    in_lab(backend, plan, tmp_path / "run", scenario)


def test_the_flow_of_a_stopped_node_fails_with_a_reason(backend: Backend, tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        await start(deployment, bulk(20_000_000, idle_timeout=2 * SECOND))
        await until(deployment, lambda event: event.kind == "flow_started", count=2)
        await deployment.set_node_state("b", NodeState.STOPPED)
        seen = await until(deployment, lambda event: is_finished(event) and event.node == "a")
        assert not seen[-1].data["ok"]
        assert seen[-1].data["error"]
        await assert_silent(deployment, "b")
        assert (await deployment.request("a", Command("status"))).ok
        # Twice is no error.
        await deployment.set_node_state("b", NodeState.STOPPED)
        await return_of(backend, deployment, "b")

    in_lab(backend, PLAN, tmp_path / "run", scenario)


async def assert_silent(deployment: Deployment, node: str) -> None:
    """A node that does not run says no, or whoever asks is told why: he is not left to wait."""
    said = await or_refusal(deployment.request(node, Command("status")))
    if isinstance(said, BackendError):
        assert node in str(said)
    else:
        assert not said.ok
        assert said.error


async def or_refusal(asked: Awaitable[T]) -> T | BackendError:
    """What was asked for, or why it was refused: for questions that back ends may answer differently."""
    try:
        return await asked
    except BackendError as error:
        return error


async def return_of(backend: Backend, deployment: Deployment, node: str) -> None:
    """A stopped node comes back and takes flows, or the back end has said that it does not."""
    if not backend.capabilities().nodes_return:
        with pytest.raises(BackendError, match=f"{node}.*deploy again"):
            await deployment.set_node_state(node, NodeState.RUNNING)
        return
    await deployment.set_node_state(node, NodeState.RUNNING)
    await start(deployment, bulk(100_000, name="second"))
    seen = await until(
        deployment, lambda event: is_finished(event) and event.data["flow"] == "second", count=2
    )
    assert all(
        event.data["ok"] for event in seen if event.data.get("flow") == "second" and is_finished(event)
    )


def test_an_injected_frame_is_captured_on_its_link(backend: Backend, tmp_path: Path) -> None:
    mac = bytes.fromhex(PLAN.node("a").interfaces[0].mac.replace(":", ""))
    # An EtherType for experiments (IEEE 802): nobody answers, nobody forwards it.
    frame = b"\xff" * 6 + mac + b"\x88\xb5" + bytes(range(200))

    async def scenario(deployment: Deployment) -> None:
        await deployment.inject(A_OUT, frame)
        await deployment.sleep(QUIET)
        collected = await deployment.collect(tmp_path / "run")
        held = {
            link: sum(bytes(found.data) == frame for path in paths for found in Capture.open(path))
            for link, paths in collected.captures.items()
        }
        # Once or twice: where it enters, and where it leaves if the back end captures there too.
        assert held.pop("a:eth1--r1:eth1") in (1, 2)
        assert held == {"r1:eth2--b:eth1": 0}

    if not (backend.capabilities().injection and backend.capabilities().captures):
        pytest.skip(f"{backend.name} says that it cannot inject or capture")
    in_lab(backend, PLAN, tmp_path / "run", scenario, capture=True)


def test_without_captures_none_are_collected_and_twice_is_no_error(backend: Backend, tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        for _ in range(2):
            assert (await deployment.collect(tmp_path / "run")).captures == {}

    in_lab(backend, PLAN, tmp_path / "run", scenario)


@pytest.mark.parametrize(
    "ask",
    [
        lambda lab: lab.request("nobody", Command("status")),
        lambda lab: lab.set_node_state("nobody", NodeState.PAUSED),
        lambda lab: lab.set_impairments(LinkEndpoint("a", "eth9"), NONE),
        lambda lab: lab.inject(LinkEndpoint("a", "eth9"), bytes(60)),
        lambda lab: lab.inject(LinkEndpoint("nobody", "eth1"), bytes(60)),
    ],
    ids=["request", "set_node_state", "set_impairments", "inject-interface", "inject-node"],
)
def test_what_is_not_there_is_named_with_what_is(
    backend: Backend, tmp_path: Path, ask: Callable[[Deployment], Awaitable[object]]
) -> None:
    async def scenario(deployment: Deployment) -> None:
        with pytest.raises(BackendError, match=r"(nobody|eth9)(?s:.*)\ba\b"):
            await ask(deployment)

    in_lab(backend, PLAN, tmp_path / "run", scenario)


def test_destroying_lets_everybody_go_who_listens(backend: Backend, tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        async def listen() -> int:
            return len([event async for event in deployment.events()])

        listeners = [asyncio.create_task(listen()) for _ in range(3)]
        await deployment.sleep(MILLISECOND)
        await deployment.destroy()
        await asyncio.gather(*listeners)
        # Whoever comes later waits neither.
        await listen()
        # After its end a lab may still be asked: it neither hangs nor crashes.
        await or_refusal(deployment.request("a", Command("status")))

    in_lab(backend, PLAN, tmp_path / "run", scenario)


def test_a_run_id_is_used_once_and_the_first_lab_does_not_suffer(backend: Backend, tmp_path: Path) -> None:
    run_id = new_run_id()

    async def whole() -> None:
        first = await backend.deploy(PLAN, run_id=run_id, directory=tmp_path / "1", capture=False)
        try:
            second = await or_refusal(
                backend.deploy(PLAN, run_id=run_id, directory=tmp_path / "2", capture=False)
            )
            if isinstance(second, BackendError):
                assert run_id in str(second)
            else:
                await second.destroy()
            await start(first, bulk(10_000))
            assert all(event.data["ok"] for event in await finished(first))
        finally:
            await first.destroy()

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_SECONDS))
    assert traces(backend, run_id) == []


@pytest.mark.parametrize("place", [".", "captures", "received", "files", "logs", "nodes", "b.keylog"])
def test_a_deployment_whose_files_have_no_place_says_so_and_leaves_nothing(
    backend: Backend, tmp_path: Path, place: str
) -> None:
    """Something else stands where files are to be made; a back end that does not need the place works."""
    directory, run_id = tmp_path / "run", new_run_id()
    if place == "b.keylog":
        (directory / place).mkdir(parents=True)
    else:
        (directory / place).parent.mkdir(exist_ok=True)
        (directory / place).write_text("")

    async def whole() -> None:
        deployment = await or_refusal(backend.deploy(PLAN, run_id=run_id, directory=directory))
        if isinstance(deployment, BackendError):
            assert str(directory) in str(deployment)
        else:
            await deployment.destroy()

    before = open_files()
    asyncio.run(asyncio.wait_for(whole(), PATIENCE_SECONDS))
    assert traces(backend, run_id) == []
    assert open_files() <= before


@pytest.mark.parametrize("name", ["an-interface-of-too-long-a-name", "lo"])
def test_an_interface_that_cannot_be_made_fails_the_deployment_and_leaves_nothing(
    backend: Backend, tmp_path: Path, name: str
) -> None:
    """The reader of topologies refuses them; whoever plans by himself meets the back end."""
    topology = line_topology(impaired(delay="1ms"))
    (link,) = topology.links
    bad = replace(link, a=LinkEndpoint("a", name))
    plan = make_plan(replace(topology, links=(bad,)))
    run_id = new_run_id()

    async def whole() -> None:
        deployment = await or_refusal(backend.deploy(plan, run_id=run_id, directory=tmp_path / "run"))
        if isinstance(deployment, BackendError):
            assert name in str(deployment)
        else:
            assert backend.capabilities().virtual_time, "a real interface cannot be called so"
            await deployment.destroy()

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_SECONDS))
    assert traces(backend, run_id) == []


def kill_process(run_id: str) -> bool:
    """Kill the first agent that is seen of a run of namespaces."""
    label = f"{RUN_VARIABLE}={run_id}".encode()
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            ours = label in Path("/proc", pid, "environ").read_bytes().split(b"\0")
            if ours and b"node0.json" in Path("/proc", pid, "cmdline").read_bytes():
                os.kill(int(pid), signal.SIGKILL)
                return True
        except OSError:
            continue
    return False


def kill_container(run_id: str) -> bool:
    """Kill the container of a run's first node as soon as it is there."""
    argv = ["docker", "kill", f"nw-{run_id}-a"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


SABOTAGE = {"netns": kill_process, "docker": kill_container}


def test_an_agent_killed_while_the_lab_comes_up_fails_the_deployment_and_leaves_nothing(
    backend: Backend, tmp_path: Path
) -> None:
    kill = SABOTAGE.get(backend.name)
    if kill is None:
        pytest.skip(f"the nodes of {backend.name} are no processes that anybody could kill")
    run_id = new_run_id()

    def saboteur(deadline: float) -> bool:
        while not (done := kill(run_id)) and time.monotonic() < deadline:
            time.sleep(0.005)
        return done

    async def whole() -> None:
        killing = asyncio.create_task(asyncio.to_thread(saboteur, time.monotonic() + PATIENCE_SECONDS))
        deployment = await or_refusal(backend.deploy(PLAN, run_id=run_id, directory=tmp_path / "run"))
        assert await killing
        if isinstance(deployment, BackendError):
            return
        # It was up before the saboteur came: then it is known to be gone.
        seen = await until(deployment, lambda event: event.kind in ("exited", "node_failed"))
        assert seen[-1].node == "a"
        await deployment.destroy()

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_SECONDS))
    assert traces(backend, run_id) == []


def test_a_cancelled_deployment_leaves_nothing(backend: Backend, tmp_path: Path) -> None:
    for turns in (0, 5, 40):
        run_id = new_run_id()

        async def whole(run_id: str = run_id, turns: int = turns) -> None:
            deploying = asyncio.create_task(backend.deploy(PLAN, run_id=run_id, directory=tmp_path / run_id))
            for _ in range(turns):
                await asyncio.sleep(0.02)
            deploying.cancel()
            try:
                await (await deploying).destroy()
            except asyncio.CancelledError:
                pass  # the usual case; a fast one is up already

        asyncio.run(asyncio.wait_for(whole(), PATIENCE_SECONDS))
        assert traces(backend, run_id) == []


def test_time_is_as_the_back_end_says(backend: Backend, tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        if backend.capabilities().virtual_time:
            began = deployment.now()
            await deployment.sleep(24 * 3600 * SECOND)
            assert deployment.now() == began + 24 * 3600 * SECOND
        else:
            before = time.monotonic_ns()
            assert before <= deployment.now() <= time.monotonic_ns()

    in_lab(backend, PLAN, tmp_path / "run", scenario)


def test_an_impairment_that_it_lacks_is_refused_before_anything_is_made(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    able = backend.capabilities()
    assert able.impairments <= set(IMPAIRMENTS.names())
    without: Capabilities = replace(able, impairments=able.impairments - {"rate"})
    monkeypatch.setattr(type(backend), "capabilities", lambda self: without)
    with pytest.raises(NotSupportedError, match=f"back end {backend.name} has no rate"):
        selection.select_backend(backend.name, PLAN)


def test_the_dumbbell_scenario_passes(backend: Backend, tmp_path: Path) -> None:
    topology = load(ROOT / "topologies" / "dumbbell.lab.yml")
    result = asyncio.run(asyncio.wait_for(run(topology, backend.name, directory=tmp_path), PATIENCE_SECONDS))
    assert result.to_json()["verdict"] == "PASS", result.to_json()
    assert traces(backend, result.manifest.run_id) == []


@pytest.mark.parametrize("name", BACKENDS.names())
def test_check_says_what_is_missing_and_how_to_get_it(name: str) -> None:
    for problem in BACKENDS[name]().check():
        assert problem.what
        assert problem.remedy
