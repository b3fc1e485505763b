"""The one runner of tables: what hangs, is killed or is interrupted costs its own cell, and no other."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.experiment.cell_table import Table, run_table
from orchestrator.experiment.cells import CellResult, Outcome
from orchestrator.topology.load import load
from orchestrator.topology.model import Topology
from tests.support.command import narrows, started
from tests.support.experiments import LINE

_LAB = LINE + "\nworkloads:\n  film: {kind: bulk, from: a, to: b, size: 10kB}\n"


@dataclass(frozen=True, slots=True)
class _Cell:
    """A line, whose process may come to grief before it runs."""

    row: str
    file: Path
    #: The process that tells of cells, in which all is well.
    teller: int
    column: str = "x"
    backend: str = "simulation"
    repeats: int = 1
    volume: int = 0

    def prepared(self) -> tuple[Topology, tuple[str, ...]]:
        if os.getpid() != self.teller and self.row == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        while os.getpid() != self.teller and self.row == "hangs":
            time.sleep(1)
        return load(self.file), ()

    def judged(self, result: CellResult) -> CellResult:
        return result


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "line.lab.yml"
    made.write_text(_LAB)
    return made


def test_a_process_that_is_killed_or_hangs_costs_its_own_cell(file: Path, tmp_path: Path) -> None:
    def results(*rows: str, limit_seconds: float) -> list[CellResult]:
        table = Table([_Cell(row, file, os.getpid()) for row in rows], tmp_path / "kept")
        asyncio.run(run_table(table, jobs=2, limit_seconds=limit_seconds))
        return table.results()

    killed, well = results("killed", "well", limit_seconds=240.0)
    assert killed.outcome is Outcome.ERROR
    assert killed.reasons[0].startswith("its process was killed (SIGKILL)")
    assert well.outcome is Outcome.PASSED
    (hangs,) = results("hangs", limit_seconds=0.5)
    assert hangs.outcome is Outcome.ERROR
    assert hangs.reasons[0].startswith("given up after 0.5 s of real time")


@pytest.mark.parametrize("verb", ["matrix", "cases"])
def test_an_interrupted_table_shows_what_there_is_and_goes_on(verb: str, file: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    case = "case: {letter: T, group: narrows, breaks: [{set: {rtt: 6ms}, misses: integrity == ok}]}\n"
    if verb == "cases":
        lab = _LAB.replace("delay: 5ms", 'delay: "${rtt}"') + "parameters: {rtt: 5ms}\n"
        file.write_text(lab + case + "expect: [integrity == ok]\n")
    words: tuple[str | Path, ...] = (verb, file) if verb == "matrix" else (verb, "--directory", tmp_path)
    options = ("--backend", "simulation", "--repeat", "1000", "-j", "1", "--resume", kept, "-f", "json")
    with started(*words, *options) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("[1/1000] P")
        process.send_signal(signal.SIGINT)
        told, errors = process.communicate(timeout=240)
    assert process.returncode == 130
    assert f"the same command with --resume {kept} goes on" in errors
    (cell,) = json.loads(told)["cells" if verb == "matrix" else "results"]
    assert cell.get("letter" if verb == "matrix" else "outcome") in ("-", "not run")
    assert 1 <= len(cell["runs"]) < 1000
    assert (kept / f"{verb}.html").is_file()


@pytest.mark.parametrize("verb", ["matrix", "cases"])
def test_a_back_end_that_is_not_there_is_refused_before_anything_is_made(
    verb: str, file: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    named = (file, "--backend", "simulation,nonsense") if verb == "matrix" else ("--backend", "nonsense")
    for place in ("--results", "--resume"):
        ended = narrows(verb, *named, place, results)
        assert ended.code == 2
        assert "unknown backend 'nonsense'" in ended.stderr
        assert not results.exists()
