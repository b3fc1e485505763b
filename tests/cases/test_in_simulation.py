"""Every case passes in simulation, and fails for its own reason with each setting that is wrong for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.experiment.cases import CaseCell, CaseFile, Setting
from orchestrator.experiment.cells import Outcome, cell_result, run_turn
from orchestrator.pytest_plugin import Lab
from orchestrator.topology.model import CaseBreak
from tests.cases.suite import CASES, broken, case_on


@pytest.mark.slow
@pytest.mark.backends("simulation")
@pytest.mark.parametrize("case", [case_on(case, "simulation") for case in CASES])
def test_the_case_passes(lab: Lab, case: CaseFile) -> None:
    result = lab.passes(qlog=False)
    # What a case is about was judged, and not only that it completed.
    assert {case.case.breaks[0].misses} <= {
        name for found in result.expectations for name in (found.text, f"{found.flow}: {found.text}")
    }


@pytest.mark.slow
@pytest.mark.parametrize(("case", "wrong"), broken())
def test_the_case_notices_a_wrong_setting(case: CaseFile, wrong: CaseBreak, tmp_path: Path) -> None:
    cell = CaseCell(case, Setting(), wrong)
    result = cell_result(cell, [asyncio.run(run_turn(cell, 0, tmp_path))])
    assert result.outcome is Outcome.PASSED, result.reasons
