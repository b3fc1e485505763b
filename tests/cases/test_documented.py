"""docs/cases.md tells of every case what its file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.experiment.cases import CaseFile
from tests.cases.suite import CASES

TEXT = (Path(__file__).parents[2] / "docs" / "cases.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_table_has_the_case_as_its_file_has_it(case: CaseFile) -> None:
    start = f"| {case.case.letter} | [{case.name}](../topologies/cases/{case.name}.lab.yml) | {case.about} |"
    (row,) = (line for line in TEXT.splitlines() if line.startswith(start))
    for wrong in case.case.breaks:
        assert f"`{wrong.misses}`" in row


def test_letters_are_not_shared() -> None:
    assert len({case.case.letter for case in CASES}) == len(CASES)
