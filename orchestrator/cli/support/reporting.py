"""What `narrows run` tells of its runs: tables, JSON, JUnit XML, and events while they go on."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.support.live import shown
from orchestrator.experiment.event_stream import EventStream
from orchestrator.experiment.progress import Observer, Progress
from orchestrator.experiment.repeats import RepeatResult
from orchestrator.junit import write_junit
from orchestrator.results import RunResult

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Events go to standard output.
STDOUT = "-"


class Reporter:
    """Tells of runs, in all the ways that were asked for.

    Args:
        form: ``table`` or ``json``: what goes to standard output at the end.
        events: where lines of JSON go; None: nowhere, ``-``: standard output, and nothing else then does.
        junit: the file of JUnit XML; None: none.
    """

    def __init__(self, *, form: str, events: str | None, junit: Path | None) -> None:
        self._form = form
        self._events = events
        self._junit = junit
        self._stream: EventStream | None = None
        self._observer: Observer | None = None

    @contextmanager
    def watching(self) -> Iterator[Reporter]:
        """Show runs on standard error, and write events, until the block ends."""
        if self._junit is not None and not self._junit.parent.is_dir():
            # Before hours of runs, not after them.
            raise click.UsageError(f"--junit {self._junit}: there is no directory {self._junit.parent}")
        with ExitStack() as stack:
            self._observer = stack.enter_context(shown(quiet=False))
            if self._events == STDOUT:
                self._stream = EventStream(sys.stdout)
            elif self._events is not None:
                try:
                    file = stack.enter_context(Path(self._events).open("w", encoding="utf-8"))
                except OSError as error:
                    raise click.UsageError(f"--events {self._events}: {error.strerror}") from error
                self._stream = EventStream(file)
            yield self
            self._stream = None

    def observe(self, progress: Progress) -> None:
        """Take a snapshot of a run."""
        if self._observer is not None:
            self._observer(progress)
        if self._stream is not None:
            self._stream.observe(progress)

    def take(self, result: RunResult) -> None:
        """Take the result of a run, while watching."""
        if self._stream is not None:
            self._stream.finish(result)

    def take_all(self, result: RepeatResult) -> None:
        """Take the result of all runs, while watching."""
        if self._stream is not None:
            self._stream.finish_all(result)

    def finish(self, result: RunResult | RepeatResult) -> None:
        """Write what is written at the end."""
        if self._junit is not None:
            if isinstance(result, RepeatResult):
                write_junit(self._junit, result.runs, result.expectations)
            else:
                write_junit(self._junit, [result])
        if self._events == STDOUT:
            return
        if self._form == "json":
            click.echo(json.dumps(result.to_json()))
            return
        from orchestrator.cli.support.tables import run_tables, show_tables

        if isinstance(result, RepeatResult):
            show_tables(*repeat_tables(result))
        else:
            show_tables(*run_tables(result))


def repeat_tables(result: RepeatResult) -> list[RenderableType]:
    """Return all that a user wants to see of repeated runs, the verdict last."""
    from rich.text import Text

    from orchestrator.cli.support.tables import expectation_table, table
    from orchestrator.experiment.expectations import show_value

    runs = [
        (str(run.manifest.seed), run.verdict.value, str(run.directory), "; ".join(run.reasons))
        for run in result.runs
    ]
    parts: list[RenderableType] = [table("Runs", (">seed", "verdict", "files", "why"), runs)]
    rows = []
    for found in result.statistics:
        low, high = (show_value(found.unit, max(0.0, bound)) for bound in found.interval)
        middle = show_value(found.unit, found.median)
        mean = show_value(found.unit, found.mean)
        count = f"{len(found.values)}"
        rows.append((found.subject or "the run", found.quantity, count, mean, f"{low} to {high}", middle))
    columns = ("of", "quantity", ">runs", ">mean", ">95 % interval", ">median")
    parts.append(table("Over all runs", columns, rows))
    if result.expectations:
        parts.append(expectation_table(result.expectations))
    passed = sum(run.verdict.value == "PASS" for run in result.runs)
    style = "bold green" if result.verdict.value == "PASS" else "bold red"
    told = f"  {passed} of {len(result.runs)} runs passed; files in {result.directory}"
    parts.extend(Text(f"note: {note}") for note in result.notes)
    return [*parts, Text.assemble((result.verdict.value, style), told)]
