"""Tables of runs as terminals show them: cases, and combinations of settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from rich.console import RenderableType
from rich.text import Text

from orchestrator.cli.support.tables import table
from orchestrator.experiment.cases import CaseCell, CaseFile
from orchestrator.experiment.cell_table import Table
from orchestrator.experiment.cells import Cell, CellResult, Outcome
from orchestrator.experiment.matrix import MatrixCell

C = TypeVar("C", bound=Cell)
#: Outcome → the sign of the interop runner's own tables, and how it looks.
SIGNS = {
    Outcome.PASSED: ("✓", "green"),
    Outcome.FAILED: ("✕", "red"),
    Outcome.ERROR: ("!", "red"),
    Outcome.UNSUPPORTED: ("?", "yellow"),
    Outcome.MISSING: ("?", "yellow"),
    Outcome.NOT_RUN: ("-", "dim"),
}


def list_tables(cases: Sequence[CaseFile]) -> tuple[RenderableType, ...]:
    """Return a table of what cases there are."""
    rows = [(case.case.letter, case.name, case.case.group, case.about) for case in cases]
    return (table("Cases", ("", "case", "of", "shows"), rows),)


def case_parts(found: Table[CaseCell]) -> list[RenderableType]:
    """Return one row for each case and one column for each setting, the reasons below, then the letters."""
    title = "Cases"
    if any(cell.wrong is not None for cell in found.cells):
        title = "Cases, each with a wrong setting that it must notice"
    return [_grid(found, title, case_figure), *_reasons(found), *_letters(found)]


def case_figure(result: CellResult) -> str:
    """Return what stands beside a case's letter: its time, and the mean goodput of several runs."""
    if not any(turn.directory for turn in result.turns):
        return result.outcome.value
    mean = f", {goodput_figure(result)}" if result.repeats > 1 and result.goodput is not None else ""
    return f"{result.seconds:.1f} s{mean}"


def matrix_parts(found: Table[MatrixCell]) -> list[RenderableType]:
    """Return one row for each topology and one column for each set of settings, and the reasons below."""
    most = max((cell.repeats for cell in found.cells), default=1)
    title = f"Goodput of all flows, {most} {'run' if most == 1 else 'runs'} each"
    return [_grid(found, title, goodput_figure), *_reasons(found)]


def goodput_figure(result: CellResult) -> str:
    """Return the mean goodput of all flows together, if there is one."""
    return "" if result.goodput is None else f"{result.goodput[0] / 1e6:.3g} Mbit/s"


def _grid(found: Table[C], title: str, figure: Callable[[CellResult], str]) -> RenderableType:
    columns = list(dict.fromkeys(cell.column for cell in found.cells))
    rows: dict[str, dict[str, Text]] = {}
    for cell, result in zip(found.cells, found.results(), strict=True):
        style = SIGNS[result.outcome][1]
        told = Text(f"{result.outcome.letter} {figure(result)}".rstrip(), style)
        rows.setdefault(cell.row, {})[cell.column] = told
    cells: list[tuple[str | Text, ...]] = [
        (row, *(places.get(column, Text("")) for column in columns)) for row, places in rows.items()
    ]
    return table(title, ("", *columns), cells)


def _reasons(found: Table[C]) -> list[Text]:
    several = len({cell.column for cell in found.cells}) > 1
    told = []
    for cell, result in zip(found.cells, found.results(), strict=True):
        if result.outcome is Outcome.PASSED:
            continue
        where = f" ({cell.column})" if several else ""
        style = SIGNS[result.outcome][1]
        told += [Text(f"{result.outcome.value}: {cell.row}{where}: {why}", style) for why in result.reasons]
        bad = (turn for turn in result.turns if turn.outcome is Outcome.FAILED and turn.directory)
        told += [Text(f"  files in {turn.directory}") for turn in bad]
    return told


def _letters(found: Table[CaseCell]) -> list[Text]:
    """Return a line for each setting, as the interop runner writes them."""
    lines = []
    results = found.results()
    for column in dict.fromkeys(cell.column for cell in found.cells):
        here = [(c, r) for c, r in zip(found.cells, results, strict=True) if c.column == column]
        text = Text(f"{column}: ")
        for outcome, (sign, style) in SIGNS.items():
            letters = dict.fromkeys(cell.case.case.letter for cell, r in here if r.outcome is outcome)
            if letters:
                text.append(f"{sign}({','.join(letters)}) ", style=style)
        text.append(f"{sum(r.outcome is Outcome.PASSED for _, r in here)} of {len(here)} passed")
        shapers = sorted({result.impairment for _, result in here if result.impairment})
        text.append(f"; links impaired by: {', '.join(shapers)}" if shapers else "")
        lines.append(text)
    return lines
