"""How `narrows cases` and `narrows matrix` run a table, tell of it meanwhile, keep it, and end."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import click

from node.protocol.time import SECOND, Duration
from orchestrator.backends.base import BACKENDS
from orchestrator.cli.support.exit_codes import ExitCode
from orchestrator.cli.support.running import run_to_end
from orchestrator.cli.support.table_page import Page, counts, table_page
from orchestrator.experiment.cell_table import Ran, Table, run_table
from orchestrator.experiment.cells import Cell, CellResult, Outcome
from orchestrator.experiment.manifest import new_run_id
from orchestrator.experiment.selection import AUTO
from orchestrator.results import ResultsError, make_run_directory, write_atomically

if TYPE_CHECKING:
    from rich.console import RenderableType

C = TypeVar("C", bound=Cell)
#: What an outcome means for the exit code, the first that fits.
_CODES = (
    (Outcome.FAILED, ExitCode.FAILED),
    (Outcome.ERROR, ExitCode.FAILED),
    (Outcome.NOT_RUN, ExitCode.INTERRUPTED),
    (Outcome.PASSED, ExitCode.OK),
    (Outcome.UNSUPPORTED, ExitCode.NOT_SUPPORTED),
    (Outcome.MISSING, ExitCode.ENVIRONMENT),
)


@dataclass(frozen=True, slots=True)
class Kind(Generic[C]):
    """What differs between the tables."""

    #: Of its files: ``cases.json``, ``cases.html``; and of its directory.
    name: str
    to_json: Callable[[Table[C]], dict[str, object]]
    #: What a terminal shows.
    shown: Callable[[Table[C]], list[RenderableType]]
    page: Page[C]


def make_table(kind: str, cells: Sequence[C], results: Path, resume: Path | None) -> Table[C]:
    """Return a table in a directory of its own: a new one, or the one to go on with.

    Raises:
        UnknownNameError: there is no such back end; no directory was made.
        ResultsError: it cannot be made.
    """
    for backend in {cell.backend for cell in cells} - {AUTO}:
        BACKENDS[backend]
    return Table(cells, _make_place(kind, results, resume))


def _make_place(kind: str, results: Path, resume: Path | None) -> Path:
    if resume is None:
        return make_run_directory(results, kind, new_run_id())
    try:
        resume.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(
            f"cannot make {resume}: {error.strerror}; name another with --resume DIR"
        ) from error
    return resume


def run_and_show(
    kind: Kind[C],
    table: Table[C],
    *,
    form: str,
    strict: bool,
    seed: int | None,
    jobs: int | None,
    limit: Duration,
    no_capture: bool,
) -> ExitCode:
    """Run a table, write and show it, and return how the command ends.

    What is there is written and shown of a table that was interrupted too.

    Args:
        kind: which table.
        table: what to run.
        form: ``json`` or ``table``.
        strict: what is not supported, or lacking, is a failure.
        seed: as of ``run_table``, as is ``jobs``.
        jobs: simulations at once.
        limit: of real time, for each run.
        no_capture: nothing is captured, and no frame checked.
    """
    interrupted = False
    try:
        run_to_end(
            run_table(
                table,
                seed=seed,
                capture=not no_capture,
                jobs=jobs,
                limit_seconds=limit / SECOND,
                on_ran=_tell,
            )
        )
    except KeyboardInterrupt:
        interrupted = True
    finally:
        data = json.dumps(kind.to_json(table), indent=1)
        write_atomically(table.directory / f"{kind.name}.json", data + "\n")
        page = table.directory / f"{kind.name}.html"
        write_atomically(page, table_page(table, kind.page, place=table.directory))
    if form == "json":
        click.echo(json.dumps(kind.to_json(table)))
    else:
        from rich.text import Text

        from orchestrator.cli.support.tables import show_tables

        verdict = table.verdict.value
        style = "bold green" if verdict == "PASS" else "bold red"
        end = Text.assemble((verdict, style), f"  {counts(table.results())}; the table is in {page}")
        show_tables(*kind.shown(table), end)
    if interrupted:
        click.echo(f"interrupted; the same command with --resume {table.directory} goes on", err=True)
        return ExitCode.INTERRUPTED
    return exit_code_of_table(table.results(), strict=strict)


def exit_code_of_table(results: list[CellResult], *, strict: bool) -> ExitCode:
    """Return 1 if a cell failed or could not be tried, 0 if one passed, 127 or 3 if none could run.

    Args:
        results: of all cells.
        strict: not to have run is to have failed.
    """
    found = {result.outcome for result in results}
    if strict and found & {Outcome.UNSUPPORTED, Outcome.MISSING}:
        return ExitCode.FAILED
    return next((code for outcome, code in _CODES if outcome in found), ExitCode.OK)


def _tell(ran: Ran) -> None:
    """Write a line to standard error."""
    turn = ran.turn
    which = f"  turn {ran.number + 1}" if ran.cell.repeats > 1 else ""
    goodput = "" if turn.goodput is None else f"  {turn.goodput / 1e6:.3g} Mbit/s"
    seconds = "" if turn.seconds is None else f"  {turn.seconds:.1f} s of the lab's time"
    before = "  (finished before)" if ran.kept else ""
    why = f"  {turn.reasons[0].splitlines()[0]}" if turn.reasons else ""
    click.echo(
        f"[{ran.done}/{ran.total}] {turn.outcome.letter}  {ran.cell.row}  {ran.cell.column}"
        f"{which}{seconds}{goodput}{before}{why}",
        err=True,
    )
