"""A link that is not as its topology says is found before the flows start; one that is, is not."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from orchestrator.backends.base import Impairment
from orchestrator.backends.simulation import SimulationBackend, SimulationDeployment
from orchestrator.experiment.calibration import calibrate
from orchestrator.experiment.runner import run_plan
from orchestrator.results import CalibrationResult, Verdict
from orchestrator.topology.calibrating import Calibrate
from orchestrator.topology.load import parse
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.planning import make_plan
from tests.support.command import narrows
from tests.support.experiments import LINE
from tests.support.topologies import impaired, line

RIGHT = [
    {},
    {"delay": "20ms", "jitter": "4ms", "loss": "2%", "rate": "20Mbit"},
    {"delay": "20ms", "jitter": "2ms", "distribution": "normal", "duplicate": "3%", "corrupt": "2%"},
    {"delay": "20ms", "reorder": "20%"},
    {"delay": "300ms", "rate": "256kbit", "queue": "5p"},
    {"loss": "5%", "burst": "4p", "rate": "1Gbit"},
    {"gemodel": "2% 20% 70% 1%"},
    {"rate": "10Mbit", "aqm": "fq_codel", "delay": "5ms"},
    {"delay": "10ms", "slot": "1ms 2ms", "drop": "2-7"},
]
#: What is asked, what the link does, and what is found.
WRONG = [
    ({"delay": "20ms"}, {"delay": "20500us"}, "delay"),
    ({"delay": "20ms", "jitter": "4ms"}, {"delay": "20ms", "jitter": "5ms"}, "jitter"),
    ({"delay": "20ms"}, {"delay": "20ms", "loss": "1%"}, "loss"),
    ({"loss": "10%"}, {"loss": "5%"}, "loss"),
    ({"rate": "10Mbit"}, {"rate": "10150kbit"}, "rate"),
    ({"rate": "10Mbit", "aqm": "codel"}, {"rate": "9850kbit", "aqm": "codel"}, "rate"),
    ({"delay": "20ms"}, {"delay": "20ms", "reorder": "2%"}, "reordering"),
    ({"delay": "20ms", "reorder": "10%"}, {"delay": "20ms", "reorder": "20%"}, "before their time"),
    ({}, {"duplicate": "1%"}, "duplicates"),
    ({}, {"corrupt": "1%"}, "damage"),
    ({"delay": "5ms"}, {"loss": "100%"}, "loss"),
]


def measured(
    asked: dict[str, str],
    does: dict[str, str],
    directory: Path,
    impairment: Impairment = Impairment.SIMULATED,
) -> CalibrationResult:
    """Measure a link that does something, whoever does it, against what was asked."""

    async def measure() -> CalibrationResult:
        made = line(impaired(does))
        deployment = await SimulationBackend().deploy(
            made, run_id="0" * 8, directory=directory, capture=False
        )
        deployment.impairment = impairment
        try:
            return await calibrate(deployment, line(impaired(asked)), Calibrate.STRICT, virtual_time=True)
        finally:
            await deployment.destroy()

    return asyncio.run(measure())


@pytest.mark.parametrize("words", RIGHT, ids=str)
def test_link_that_does_what_is_asked_is_in_its_targets(words: dict[str, str], tmp_path: Path) -> None:
    result = measured(words, words, tmp_path)
    assert [row.describe() for row in result.outside] == []
    assert {row.sender for row in result.rows} == {"a:eth1", "b:eth1"}
    assert all(row.detail for row in result.rows if row.verdict == "not judged")


@pytest.mark.parametrize(("asked", "does", "quantity"), WRONG, ids=str)
def test_link_that_does_something_else_is_found(
    asked: dict[str, str], does: dict[str, str], quantity: str, tmp_path: Path
) -> None:
    result = measured(asked, does, tmp_path)
    assert quantity in {row.quantity for row in result.outside}
    assert all(row.describe().startswith(("a:eth1: ", "b:eth1: ")) for row in result.outside)


@pytest.mark.parametrize(
    ("impairment", "asked", "does", "blamed"),
    [
        (Impairment.USERSPACE, "1Gbit", "700Mbit", True),
        (Impairment.USERSPACE, "400Mbit", "500Mbit", False),
        (Impairment.USERSPACE, "10Mbit", "7Mbit", False),
        (Impairment.KERNEL, "1Gbit", "700Mbit", False),
    ],
)
def test_rate_that_a_shaping_process_does_not_carry_is_called_its_limit(
    impairment: Impairment, asked: str, does: str, blamed: bool, tmp_path: Path
) -> None:
    result = measured({"rate": asked}, {"rate": does}, tmp_path, impairment)
    told = [row.describe() for row in result.outside]
    assert len(told) == 2
    assert all(("a limit of the shaper, not of what the link is set to" in row) is blamed for row in told)


class Deceiving(SimulationBackend):
    """Makes links a little slower than it was asked to."""

    async def deploy(self, plan: DeploymentPlan, **rest: object) -> object:  # type: ignore[override]
        links = tuple(dataclasses.replace(link, forward=impaired(delay="6ms")) for link in plan.links)
        return await super().deploy(dataclasses.replace(plan, links=links), **rest)  # type: ignore[arg-type]


class UnmeasurableDeployment(SimulationDeployment):
    """Lets nobody put frames on its links."""

    prober = None  # type: ignore[assignment]


class Unmeasurable(SimulationBackend):
    """Makes labs that nobody can measure."""

    async def deploy(self, plan: DeploymentPlan, **rest: object) -> object:  # type: ignore[override]
        made = await super().deploy(plan, **rest)  # type: ignore[arg-type]
        made.__class__ = UnmeasurableDeployment
        return made


_FLOWS = "workloads: {film: {kind: bulk, from: a, to: b, size: 20kB}}\n"


@pytest.mark.parametrize(
    ("mode", "verdict"), [(Calibrate.STRICT, Verdict.FAIL), (Calibrate.WARN, Verdict.PASS)]
)
def test_strict_run_on_wrong_links_fails_before_its_flows_start(
    mode: Calibrate, verdict: Verdict, tmp_path: Path
) -> None:
    plan = make_plan(parse((LINE + _FLOWS).encode(), file="test"))
    result = asyncio.run(run_plan(plan, Deceiving(), directory=tmp_path, calibrate=mode))  # type: ignore[arg-type]
    assert result.verdict is verdict
    told = result.reasons if mode is Calibrate.STRICT else result.notes
    assert any("calibration: a:eth1: delay asked 5.08" in sentence for sentence in told)
    (flow,) = result.flows
    assert (flow.bytes > 0) is (mode is Calibrate.WARN)
    assert result.wire.violations == 0
    assert all(link.frames_in == 0 for link in result.links) is (mode is Calibrate.STRICT)


@pytest.mark.parametrize(
    ("mode", "verdict"), [(Calibrate.STRICT, Verdict.FAIL), (Calibrate.WARN, Verdict.PASS)]
)
def test_strict_run_fails_where_nobody_can_measure(mode: Calibrate, verdict: Verdict, tmp_path: Path) -> None:
    plan = make_plan(parse((LINE + _FLOWS).encode(), file="test"))
    result = asyncio.run(run_plan(plan, Unmeasurable(), directory=tmp_path, calibrate=mode))  # type: ignore[arg-type]
    assert result.verdict is verdict
    told = result.reasons if mode is Calibrate.STRICT else result.notes
    assert any("not measured: this back end cannot put frames on a link" in one for one in told)
    assert (result.flows[0].bytes > 0) is (mode is Calibrate.WARN)


def test_lists_of_drops_count_from_the_start_of_the_flows(tmp_path: Path) -> None:
    text = LINE.replace("rate: 10Mbit}", 'rate: 10Mbit, drop: "3"}') + _FLOWS
    plan = make_plan(parse(text.encode(), file="test"))
    result = asyncio.run(run_plan(plan, SimulationBackend(), directory=tmp_path, calibrate=Calibrate.WARN))
    assert result.verdict is Verdict.PASS
    lost = {link.sender: link.frames_in - (link.frames_out or 0) for link in result.links}
    assert lost == dict.fromkeys(lost, 1)


def test_report_shows_what_was_measured_and_who_shaped(tmp_path: Path) -> None:
    file = tmp_path / "line.lab.yml"
    file.write_text(LINE + _FLOWS + "calibrate: strict\n")
    ended = narrows("run", file, "--backend", "simulation", "--results", tmp_path, "-f", "json")
    calibration = ended.json()["calibration"]
    assert ended.code == 0
    assert (calibration["mode"], calibration["shaper"], calibration["outside"]) == ("strict", "simulated", 0)
    delay = next(row for row in calibration["links"] if row["quantity"] == "delay")
    assert delay["low"] <= delay["measured"] <= delay["high"]
    shown = narrows("run", file, "--backend", "simulation", "--results", tmp_path)
    assert "measured before the flows started" in shown.stdout
    off = narrows(
        "run", file, "--backend", "simulation", "--results", tmp_path, "-f", "json", "--calibrate", "off"
    )
    assert off.json()["calibration"]["links"] == []
