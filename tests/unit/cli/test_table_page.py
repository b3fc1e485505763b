"""Links of a table's page lead to the runs, whatever directories are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli.support.table_page import Page, table_page
from orchestrator.experiment.cell_table import Table
from orchestrator.experiment.cells import Outcome, Turn
from orchestrator.experiment.matrix import MatrixCell
from tests.support.table_pages import linked

NAMES = (
    *("two words", "#1", "50%", "100%25", "what?", "a&amp;b", "a;b", "a:b", "<b>", "läb", "\\", "~", "+"),
    *("it's", 'say "ah"', "tab\tline\nend", "?a=b#c%20d \"e\" 'f'"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_link_leads_to_the_run(name: str, tmp_path: Path) -> None:
    place = tmp_path / name / "table"
    runs = [place / name, tmp_path / f"{name} beside"]
    for directory in runs:
        directory.mkdir(parents=True)
    turns = {index: Turn(Outcome.PASSED, index, directory=str(run)) for index, run in enumerate(runs)}
    page: Page[MatrixCell] = Page("Matrix", about=lambda cell: "", figure=lambda result: "", legend="None.")
    table = Table([MatrixCell("line.lab.yml", "line", "simulation", {}, {})], place, {0: turns})
    file = place / "matrix.html"
    file.write_text(table_page(table, page, place=place), encoding="utf-8")
    assert linked(file) == runs
    assert all(run.is_dir() for run in linked(file))
