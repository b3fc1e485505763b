"""The simulation back end: virtual time, node states, artefacts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from node.capture.pcapng import Capture, Direction
from node.control.messages import Command, NodeEvent, Reply
from node.protocol.time import MILLISECOND, SECOND
from orchestrator.backends.base import BACKENDS, Deployment, Impairment, NodeState
from orchestrator.errors import BackendError
from orchestrator.simulation.packet import Packet, from_frame, to_frame
from orchestrator.topology.model import LinkEndpoint, WorkloadSpec
from orchestrator.topology.plan import DeploymentPlan
from tests.support.topologies import bulk, impaired, line

A_OUT = LinkEndpoint("a", "eth1")
TWO_HOPS = (impaired(delay="10ms", rate="20Mbit"), impaired(delay="5ms"))


@asynccontextmanager
async def deployed(
    plan: DeploymentPlan, directory: Path, *, capture: bool = False
) -> AsyncIterator[Deployment]:
    backend = BACKENDS["simulation"]()
    assert backend.check() == []
    deployment = await backend.deploy(plan, run_id="01234567", directory=directory, capture=capture)
    try:
        yield deployment
    finally:
        await deployment.destroy()


async def start(deployment: Deployment, flow: WorkloadSpec) -> None:
    for node, role, peer in ((flow.target, "target", flow.source), (flow.source, "source", flow.target)):
        arguments = {
            "flow": flow.name,
            "workload": flow.kind,
            "role": role,
            "peer": peer,
            "options": flow.options,
            "transport": flow.transport,
        }
        reply = await deployment.request(node, Command("start_flow", arguments))
        assert reply.ok, reply.error


async def finished(deployment: Deployment, flows: int = 1) -> list[NodeEvent]:
    """Return the ends of so many flows: two events each."""
    found: list[NodeEvent] = []
    async for event in deployment.events():
        if event.kind == "flow_finished":
            found.append(event)
            if len(found) == 2 * flows:
                break
    return found


def in_lab(plan: DeploymentPlan, directory: Path, scenario: Callable[[Deployment], Awaitable[None]]) -> None:
    async def main() -> None:
        async with deployed(plan, directory) as deployment:
            await scenario(deployment)

    asyncio.run(asyncio.wait_for(main(), 120))


def test_a_transfer_completes_with_the_same_bytes_at_both_ends(tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        assert deployment.impairment is Impairment.SIMULATED
        await start(deployment, bulk(300_000))
        ends = await finished(deployment)
        assert all(event.data["ok"] for event in ends)
        assert ends[0].data["sha256"] == ends[1].data["sha256"]
        assert (tmp_path / "received" / "b" / "file").stat().st_size == 300_000
        # 300 kB at 20 Mbit/s take 120 ms, and there and back 30 ms.
        assert deployment.now() > 150 * MILLISECOND

    in_lab(line(*TWO_HOPS), tmp_path, scenario)


def test_a_real_file_is_sent_from_the_files_directory(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "data.bin").write_bytes(bytes(range(256)) * 100)

    async def scenario(deployment: Deployment) -> None:
        await start(deployment, WorkloadSpec("file", "bulk", "a", "b", {"file": "data.bin"}, {}))
        ends = await finished(deployment)
        assert all(event.data["ok"] for event in ends)
        assert (tmp_path / "received" / "b" / "file").read_bytes() == bytes(range(256)) * 100

    in_lab(line(*TWO_HOPS), tmp_path, scenario)


def test_sleep_takes_exactly_as_long_as_asked_and_days_are_over_at_once(tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        await deployment.sleep(3)
        assert deployment.now() == 3
        await deployment.sleep(24 * 3600 * SECOND)
        assert deployment.now() == 24 * 3600 * SECOND + 3
        await deployment.sleep(0)
        assert deployment.now() == 24 * 3600 * SECOND + 3

    in_lab(line(*TWO_HOPS), tmp_path, scenario)


def test_sleepers_and_listeners_see_one_order_of_things(tmp_path: Path) -> None:
    """A timeline that sleeps beside a runner that listens acts at its instants, not around them."""

    async def scenario(deployment: Deployment) -> None:
        seen: list[int] = []

        async def timeline() -> None:
            for _ in range(5):
                await deployment.sleep(20 * MILLISECOND)
                seen.append(deployment.now())
                await deployment.set_impairments(A_OUT, impaired(delay="10ms", rate="10Mbit"))

        await start(deployment, bulk(500_000))
        task = asyncio.create_task(timeline())
        await finished(deployment)
        await task
        assert seen == [20 * MILLISECOND * number for number in range(1, 6)]

    in_lab(line(*TWO_HOPS), tmp_path, scenario)


def test_virtual_time_stands_still_while_nobody_waits_for_it(tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        await start(deployment, bulk(100_000))
        for _ in range(100):
            await asyncio.sleep(0)
        assert deployment.now() == 0

    in_lab(line(*TWO_HOPS), tmp_path, scenario)


def test_setting_impairments_returns_what_is_set(tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        asked = impaired(delay="7ms", loss="3%")
        assert await deployment.set_impairments(A_OUT, asked) == asked
        with pytest.raises(BackendError, match=r"no endpoint a:eth9 .*use one of a:eth1"):
            await deployment.set_impairments(LinkEndpoint("a", "eth9"), asked)

    in_lab(line(*TWO_HOPS), tmp_path, scenario)


def test_a_cut_link_stops_the_transfer_and_healing_lets_it_finish(tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        await start(deployment, bulk(2_000_000))
        await deployment.sleep(200 * MILLISECOND)
        await deployment.set_impairments(A_OUT, impaired(loss="100%"))
        await deployment.sleep(2 * SECOND)
        await deployment.set_impairments(A_OUT, impaired(delay="10ms", rate="20Mbit"))
        ends = await finished(deployment)
        assert all(event.data["ok"] for event in ends)
        assert deployment.now() > 2200 * MILLISECOND

    in_lab(line(*TWO_HOPS), tmp_path, scenario)


def test_a_paused_node_goes_on_where_it_was(tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        await start(deployment, bulk(1_000_000))
        await deployment.sleep(100 * MILLISECOND)
        await deployment.set_node_state("b", NodeState.PAUSED)
        reply = await deployment.request("b", Command("status"))
        assert not reply.ok
        assert "paused" in reply.error
        await deployment.sleep(5 * SECOND)
        await deployment.set_node_state("b", NodeState.RUNNING)
        ends = await finished(deployment)
        assert all(event.data["ok"] for event in ends)
        assert deployment.now() > 5 * SECOND

    in_lab(line(*TWO_HOPS), tmp_path, scenario)


def test_a_stopped_node_comes_back_as_a_new_one(tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        await start(deployment, bulk(1_000_000, name="first"))
        await deployment.sleep(100 * MILLISECOND)
        await deployment.set_node_state("b", NodeState.STOPPED)
        assert not (await deployment.request("b", Command("status"))).ok
        await deployment.sleep(SECOND)
        await deployment.set_node_state("b", NodeState.RUNNING)
        status: Reply = await deployment.request("b", Command("status"))
        assert status.ok
        assert status.data["flows"] == []
        await start(deployment, bulk(100_000, name="second"))
        ends = await finished(deployment)
        assert {event.data["flow"] for event in ends if event.data["ok"]} == {"second"}

    in_lab(line(*TWO_HOPS), tmp_path, scenario)


def test_a_stopped_router_forwards_nothing(tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        await deployment.set_node_state("r1", NodeState.STOPPED)
        await start(deployment, bulk(1000))
        ends = [event async for event in _until_failed(deployment)]
        assert ends
        assert not ends[0].data["ok"]

    in_lab(line(*TWO_HOPS), tmp_path, scenario)


async def _until_failed(deployment: Deployment) -> AsyncIterator[NodeEvent]:
    async for event in deployment.events():
        if event.kind == "flow_finished":
            yield event
            return


def test_idle_with_unfinished_work_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    """A target waits for a source that nobody starts."""

    async def scenario(deployment: Deployment) -> None:
        arguments = {"flow": "lonely", "workload": "bulk", "role": "target", "peer": "a"}
        assert (await deployment.request("b", Command("start_flow", arguments))).ok
        with pytest.raises(BackendError, match="nothing is left to happen, but lonely did not finish"):
            await finished(deployment)

    in_lab(line(*TWO_HOPS), tmp_path, scenario)


def test_destroying_lets_everybody_go(tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        async def listen() -> list[NodeEvent]:
            return [event async for event in deployment.events()]

        listener = asyncio.create_task(listen())
        await deployment.sleep(1)
        sleeper = asyncio.create_task(deployment.sleep(SECOND * 10**6))
        await deployment.destroy()
        await deployment.destroy()
        assert [event.kind for event in await listener] == ["ready", "ready"]
        await sleeper

    in_lab(line(*TWO_HOPS), tmp_path, scenario)


def test_unknown_nodes_are_named_with_those_there_are(tmp_path: Path) -> None:
    async def scenario(deployment: Deployment) -> None:
        with pytest.raises(BackendError, match="no node 'c' in this lab: use one of a, r1, b"):
            await deployment.request("c", Command("status"))
        assert not (await deployment.request("r1", Command("status"))).ok

    in_lab(line(*TWO_HOPS), tmp_path, scenario)


def test_injected_rubbish_changes_nothing(tmp_path: Path) -> None:
    plan = line(*TWO_HOPS)
    a, b = plan.node("a"), plan.node("b")

    async def scenario(deployment: Deployment) -> None:
        await start(deployment, bulk(500_000))
        for number in range(300):
            rubbish = bytes([number % 256]) * (number * 4 + 1)
            frame = to_frame(Packet((a.ipv4, a.port), (b.ipv4, b.port), rubbish), bytes(6), bytes(6))
            await deployment.inject(A_OUT, frame)
            await deployment.inject(A_OUT, rubbish)
            await deployment.sleep(MILLISECOND)
        ends = await finished(deployment)
        assert all(event.data["ok"] for event in ends)

    in_lab(plan, tmp_path, scenario)


def test_captures_hold_every_frame_at_both_ends_of_each_link_in_virtual_time(tmp_path: Path) -> None:
    plan = line(impaired(delay="10ms", loss="5%"), impaired(delay="5ms"))

    async def scenario() -> None:
        async with deployed(plan, tmp_path / "run", capture=True) as deployment:
            await start(deployment, bulk(200_000))
            assert all(event.data["ok"] for event in await finished(deployment))
            await deployment.sleep(SECOND)  # what is on the second link arrives
            collected = await deployment.collect(tmp_path)
        assert sorted(collected.captures) == ["a:eth1--r1:eth1", "r1:eth2--b:eth1"]
        counted = {}
        for link, (path,) in collected.captures.items():
            capture = Capture.open(path)
            frames = list(capture)
            ends = tuple(link.split("--"))
            assert tuple(found.name for found in capture.interfaces) == ends
            assert [frame.at for frame in frames] == sorted(frame.at for frame in frames)
            assert all(from_frame(bytes(frame.data)) is not None for frame in frames)
            for side, end in enumerate(ends):
                for direction in (Direction.INBOUND, Direction.OUTBOUND):
                    counted[end, direction] = sum(
                        (frame.interface, frame.direction) == (side, direction) for frame in frames
                    )
        # Five per cent are lost on the first link; the second delivers all that it is given.
        assert 0 < counted["r1:eth1", Direction.OUTBOUND] < counted["a:eth1", Direction.INBOUND]
        assert counted["r1:eth2", Direction.INBOUND] == counted["r1:eth1", Direction.OUTBOUND]
        assert counted["b:eth1", Direction.OUTBOUND] == counted["r1:eth2", Direction.INBOUND]
        assert len(collected.key_logs) == 2
        assert all(log.read_text() for log in collected.key_logs)

    asyncio.run(scenario())
