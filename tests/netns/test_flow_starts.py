"""When flows begin: those of one time together, whoever answers late."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from node.control.messages import Command, Reply
from orchestrator.backends.netns import NetnsBackend, NetnsDeployment
from orchestrator.experiment.runner import run_plan
from orchestrator.results import Verdict
from orchestrator.topology.calibrating import Calibrate
from orchestrator.topology.plan import DeploymentPlan
from tests.netns.labs import PAIR, plan_of

pytestmark = pytest.mark.netns

FLOWS = """
time-limit: 20s
workloads: {file: {kind: bulk, from: left, to: right, size: 20kB, per-pair: 3}}
"""


class WaitingDeployment(NetnsDeployment):
    """Answers whoever starts one of three flows when all three are being started."""

    company: asyncio.Barrier

    async def request(self, node: str, command: Command) -> Reply:
        """Hand a command to a node, in company."""
        if command.name == "start_flow" and command.arguments["role"] == "target":
            await self.company.wait()
        return await super().request(node, command)


class Waiting(NetnsBackend):
    """Makes labs whose nodes answer late."""

    async def deploy(self, plan: DeploymentPlan, **rest: object) -> NetnsDeployment:
        made = await super().deploy(plan, **rest)  # type: ignore[arg-type]
        made.__class__ = WaitingDeployment
        made.company = asyncio.Barrier(3)  # type: ignore[attr-defined]
        return made


def test_flows_of_one_time_do_not_wait_for_each_other_to_begin(tmp_path: Path) -> None:
    """A node that answers late holds up its own flow alone: the others begin when they should."""
    plan = plan_of(PAIR + FLOWS)
    run = run_plan(plan, Waiting(), directory=tmp_path, capture=False, calibrate=Calibrate.OFF)
    result = asyncio.run(run)
    assert result.verdict is Verdict.PASS, result.reasons
    assert len(result.flows) == 3
