"""How `narrows matrix` does its runs and tells of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.experiment.matrix import PAGE_FILE, Cell, Letter, Matrix, RunOnce, Turn
from orchestrator.experiment.progress import Observer
from orchestrator.results import RunResult
from orchestrator.topology.model import Topology

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {Letter.PASS: "green", Letter.FAIL: "red", Letter.ERROR: "yellow"}


def single_run(*, capture: bool) -> RunOnce:
    """Return what runs a topology once."""
    from orchestrator.experiment.runner import run

    async def once(
        topology: Topology, backend: str, seed: int, directory: Path, observer: Observer
    ) -> RunResult:
        return await run(
            topology, backend, directory=directory, seed=seed, capture=capture, on_progress=observer
        )

    return once


def shown_turn(cells: int) -> Callable[[Cell, int, Turn, bool], None]:
    """Return what writes a line to standard error for each run."""

    def show(cell: Cell, number: int, turn: Turn, kept: bool) -> None:
        goodput = "" if turn.goodput is None else f"  {turn.goodput / 1e6:.3g} Mbit/s"
        why = f"  {turn.reasons[0].splitlines()[0]}" if turn.reasons else ""
        before = "  (finished before)" if kept else ""
        click.echo(
            f"{turn.letter.value}  {cell.row}  {cell.column}  turn {number + 1}{goodput}{before}{why}",
            err=True,
        )

    click.echo(f"{cells} cells", err=True)
    return show


def table_of(matrix: Matrix) -> list[RenderableType]:
    """Return the table and the verdict, as a user reads them."""
    from rich.text import Text

    from orchestrator.cli.support.tables import table

    columns = list(dict.fromkeys(cell.column for cell in matrix.cells))
    rows: dict[str, dict[str, Text]] = {}
    for cell in matrix.cells:
        letter, goodput = matrix.letter(cell), matrix.goodput(cell)
        told = "" if goodput is None else f" {goodput[0] / 1e6:.3g} Mbit/s"
        rows.setdefault(cell.row, {})[cell.column] = Text(f"{letter.value}{told}", _STYLES.get(letter, "dim"))
    cells: list[tuple[str | Text, ...]] = [
        (row, *(found.get(column, Text("")) for column in columns)) for row, found in rows.items()
    ]
    reasons = [
        Text(f"{matrix.letter(cell).value}  {cell.row}, {cell.column}: {turn.reasons[0]}")
        for cell in matrix.cells
        for turn in matrix.turns.get(cell, ())[:1]
        if turn.reasons
    ]
    verdict = matrix.verdict.value
    style = "bold green" if verdict == "PASS" else "bold red"
    made = table(f"Goodput of all flows, {matrix.repeats} runs each", ("", *columns), cells)
    place = Text.assemble((verdict, style), f"  the table is in {matrix.directory / PAGE_FILE}")
    return [made, *reasons, place]
