"""What every probe keeps; a new one is tested here by being registered."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from random import Random

import pytest

from node.capture.pcapng import Capture
from node.control.messages import NodeEvent
from node.protocol.time import MILLISECOND, SECOND, Duration
from orchestrator.backends.base import BACKENDS
from orchestrator.errors import ProbeError
from orchestrator.probes.base import PROBES, ProbeResult
from orchestrator.probes.wire import verify
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.planning import make_plan
from tests.support.labs import PATIENCE_SECONDS, is_finished, start, until
from tests.support.topologies import bulk, impaired, line_topology

LINKS = {
    "clean": impaired(delay="2ms", rate="10Mbit", queue="100p"),
    "bad": impaired(
        delay="5ms", jitter="3ms", loss="5%", duplicate="2%", corrupt="1%", reorder="2%", rate="10Mbit"
    ),
    "cut": impaired(loss="100%"),
}
DURATION: Duration = 2 * SECOND
#: What a probe may need beyond its duration, of the lab's time: to hear of what is on its way.
GRACE: Duration = 1 * SECOND
FLOW = bulk(500_000)


def plan_over(link: str) -> DeploymentPlan:
    """Two hosts and a router, with a flow between the hosts."""
    return make_plan(line_topology(LINKS[link], impaired(delay="1ms"), flows=(FLOW,)))


class Probed:
    """A probe's run beside a flow, in simulation; ``took`` is of the lab's time, ns."""

    def __init__(self, name: str, link: str, directory: Path, *, seed: int = 1, flow: bool = True) -> None:
        self._plan = plan_over(link)
        self.result: ProbeResult
        self.took: Duration = 0
        self.ends: list[NodeEvent] = []
        self.frames: list[tuple[int, bytes]] = []
        self.violations: list[str] = []
        asyncio.run(asyncio.wait_for(self._run(name, directory, Random(seed), flow=flow), PATIENCE_SECONDS))

    async def _run(self, name: str, directory: Path, rng: Random, *, flow: bool) -> None:
        plan = self._plan
        deployment = await BACKENDS["simulation"]().deploy(
            plan, run_id="01234567", directory=directory, capture=True
        )
        try:
            if flow:
                await start(deployment, FLOW)
            began = deployment.now()
            self.result = await PROBES[name]().run(
                deployment, plan, endpoint=LinkEndpoint("a", "eth1"), duration=DURATION, rng=rng
            )
            self.took = deployment.now() - began
            if flow:
                seen = await until(deployment, is_finished, count=2)
                self.ends = [event for event in seen if is_finished(event)]
            await deployment.sleep(300 * MILLISECOND)
            collected = await deployment.collect(directory)
        finally:
            await deployment.destroy()
        for paths in collected.captures.values():
            self.frames += [(found.at, bytes(found.data)) for path in paths for found in Capture.open(path)]
        self.violations = [str(violation) for violation in verify(plan, collected).violations]


@pytest.fixture(params=PROBES.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("link", ["clean", "bad"])
def test_gives_a_verdict_in_its_time_and_harms_no_flow(name: str, link: str, tmp_path: Path) -> None:
    probed = Probed(name, link, tmp_path)
    assert_valid(name, probed.result)
    assert probed.took <= DURATION + GRACE
    assert all(event.data["ok"] for event in probed.ends)
    assert probed.violations == []


def assert_valid(name: str, result: ProbeResult) -> None:
    """A record that results can hold: figures are finite and carry their unit in their names."""
    assert result.probe == name == PROBES[name].name
    record = result.to_json()
    assert json.loads(json.dumps(record)) == record
    assert set(record) == {"probe", "passed", "figures", "notes", "table"}
    assert result.figures, "a probe that measures nothing"
    for figure, value in result.figures.items():
        assert figure.isidentifier()
        assert "_" in figure, f"{figure} has no unit"
        assert math.isfinite(value)
    assert all(note for note in result.notes)


def test_ends_in_its_time_where_nothing_comes_through(name: str, tmp_path: Path) -> None:
    probed = Probed(name, "cut", tmp_path, flow=False)
    assert probed.took <= DURATION + GRACE
    assert_valid(name, probed.result)


def test_the_same_chance_makes_the_same_run(name: str, tmp_path: Path) -> None:
    first, second = (Probed(name, "bad", tmp_path / number, seed=7) for number in "12")
    assert first.result == second.result
    assert first.took == second.took
    assert first.frames == second.frames


def test_other_chance_may_make_another_run_that_is_as_valid(name: str, tmp_path: Path) -> None:
    assert_valid(name, Probed(name, "bad", tmp_path, seed=8).result)


def test_an_endpoint_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    plan = plan_over("clean")

    async def main() -> None:
        deployment = await BACKENDS["simulation"]().deploy(
            plan, run_id="01234567", directory=tmp_path, capture=False
        )
        try:
            await PROBES[name]().run(
                deployment, plan, endpoint=LinkEndpoint("a", "eth9"), duration=DURATION, rng=Random(1)
            )
        finally:
            await deployment.destroy()

    with pytest.raises(ProbeError, match="a:eth9"):
        asyncio.run(asyncio.wait_for(main(), PATIENCE_SECONDS))
