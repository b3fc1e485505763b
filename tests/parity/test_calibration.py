"""Probes find what the kernel's netem does: right links are right, and a change behind our back is seen."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from orchestrator.backends.netns import NetnsBackend, NetnsDeployment
from orchestrator.experiment.calibration import calibrate
from orchestrator.results import CalibrationResult
from orchestrator.topology.calibrating import Calibrate
from orchestrator.topology.plan import DeploymentPlan
from tests.support.topologies import impaired, line

pytestmark = [pytest.mark.netem, pytest.mark.timetravel]

#: Links of one lab, each measured both ways.
RIGHT: tuple[dict[str, str], ...] = (
    {"delay": "20ms", "jitter": "4ms", "loss": "2%"},
    {"delay": "10ms", "rate": "20Mbit", "queue": "50p"},
    {"delay": "5ms", "duplicate": "3%", "corrupt": "2%"},
    {"delay": "20ms", "reorder": "20%"},
    {"loss": "5%", "burst": "4p", "rate": "100Mbit"},
    {},
    {"rate": "1Gbit"},
)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))


def test_right_links_are_right_and_what_changes_behind_our_back_is_found(tmp_path: Path) -> None:
    plan = line(*(impaired(words) for words in RIGHT))

    async def scenario() -> tuple[CalibrationResult, CalibrationResult]:
        deployment = await NetnsBackend().deploy(plan, run_id="0ca11b8a", directory=tmp_path, capture=False)
        try:
            right = await calibrate(deployment, plan, Calibrate.STRICT, virtual_time=False)
            for link, words in WRONG:
                _behind_our_back(deployment, link, words)
            return right, await calibrate(deployment, plan, Calibrate.STRICT, virtual_time=False)
        finally:
            await deployment.destroy()

    right, wrong = asyncio.run(scenario())
    assert [row.describe() for row in right.outside] == []
    assert {row.quantity for row in right.rows if row.verdict == "ok"} >= {
        *("delay", "jitter", "loss", "rate", "reordering", "duplicates", "damage", "before their time"),
    }
    fast = [row for row in right.rows if row.quantity == "rate" and row.asked == 1e9]
    assert [row.measured / 1e9 for row in fast if row.measured] == pytest.approx([1, 1], rel=1e-3)
    found = {row.sender: row.quantity for row in wrong.outside}
    assert found.keys() == {_sender(plan, link) for link, _ in WRONG}


#: Link, and what its netem is set to in the direction from its first end to its second.
WRONG = (
    (0, ["delay", "21500us", "4ms", "loss", "2%"]),
    (2, ["delay", "5ms", "duplicate", "3%", "corrupt", "2%", "loss", "3%"]),
    (5, ["delay", "3ms"]),
)


def _sender(plan: DeploymentPlan, link: int) -> str:
    return str(plan.links[link].a)


def _behind_our_back(deployment: NetnsDeployment, link: int, words: list[str]) -> None:
    """Replace the root qdisc of what leaves a link at its second end."""
    namespace = deployment.lab.record.links[link].namespace
    argv = ["nsenter", f"--net={namespace}", "tc", "qdisc", "replace", "dev", "b", "root", "netem"]
    subprocess.run([*argv, "limit", "100000", *words], check=True)
