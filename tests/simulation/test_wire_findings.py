"""A run says what of its captures could not be checked: nothing passes for want of evidence."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.backends.base import Collected
from orchestrator.errors import ProbeError
from orchestrator.experiment.expectations import judge
from orchestrator.experiment.runner import run
from orchestrator.experiment.wire import UNCHECKED, check_wire
from orchestrator.results import RunResult, Verdict
from orchestrator.topology.expectations import parse_expectation
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.planning import make_plan
from tests.support.topologies import bulk, impaired, line_topology

TOPOLOGY = line_topology(impaired(delay="2ms"), impaired(delay="2ms"), flows=(bulk(50_000),))


@pytest.fixture
def ran(tmp_path: Path) -> tuple[DeploymentPlan, Collected, RunResult]:
    result = asyncio.run(run(TOPOLOGY, "simulation", directory=tmp_path))
    plan = make_plan(TOPOLOGY)
    files = sorted(result.directory.glob("*.pcapng"))
    captures = {link.name: [path] for link, path in zip(plan.links, files, strict=True)}
    return plan, Collected(captures, sorted(result.directory.glob("*.keylog"))), result


def test_whole_captures_are_complete(ran: tuple[DeploymentPlan, Collected, RunResult]) -> None:
    plan, collected, result = ran
    assert result.verdict is Verdict.PASS
    assert result.wire.complete
    assert result.to_json()["wire"]["complete"] is True  # type: ignore[index]
    assert check_wire(plan, collected).wire == result.wire


def test_a_capture_that_was_cut_off_is_said_to_be(ran: tuple[DeploymentPlan, Collected, RunResult]) -> None:
    plan, collected, _ = ran
    path = next(iter(collected.captures.values()))[0]
    path.write_bytes(path.read_bytes()[:-10])
    found = check_wire(plan, collected)
    assert not found.wire.complete
    assert any("cut off" in note for note in found.notes)


def test_a_link_without_capture_is_no_clean_link(ran: tuple[DeploymentPlan, Collected, RunResult]) -> None:
    plan, collected, _ = ran
    missing = plan.links[1].name
    collected.captures[missing] = []
    with pytest.raises(ProbeError, match=f"no capture of {missing}"):
        check_wire(plan, collected)


def test_an_expectation_about_the_wire_is_not_met_unchecked() -> None:
    (result,) = judge([parse_expectation("wire violations == 0", None)], (), UNCHECKED)
    assert not result.passed
    assert result.shown == "not checked"
