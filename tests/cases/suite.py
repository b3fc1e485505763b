"""The suite of cases as parameters of tests."""

from __future__ import annotations

import pytest

from orchestrator.experiment.cases import CaseFile, find_cases
from orchestrator.topology.model import CaseBreak

CASES = find_cases()


def case_on(case: CaseFile, backend: str) -> object:
    """One case as a test's parameter, with the topology of the fixture ``lab`` on that back end."""
    parameters = dict(case.case.on.get(backend, {}))
    return pytest.param(case, id=case.name, marks=pytest.mark.topology(str(case.path), parameters=parameters))


def broken() -> list[object]:
    """Each case with each wrong setting that it must notice."""
    return [
        pytest.param(case, wrong, id=f"{case.name}-{told(wrong)}")
        for case in CASES
        for wrong in case.case.breaks
    ]


def told(wrong: CaseBreak) -> str:
    """A wrong setting in short."""
    return ",".join(f"{name}={value}" for name, value in wrong.parameters.items())
