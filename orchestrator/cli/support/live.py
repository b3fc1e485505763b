"""Shows a run while it goes on: bars on a terminal, a line every few seconds elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from node.protocol.time import SECOND
from orchestrator.experiment.progress import FlowProgress, FlowState, Observer, Phase, Progress

#: Seconds between two lines when stderr is no terminal: enough to see it live, few enough for a log.
LINE_INTERVAL = 2.0
#: Seconds between two redraws of the bars.
DRAW_INTERVAL = 0.1
#: Columns below which there is no room for bars and both ends of a flow beside the figures.
WIDE_COLUMNS = 110
_NARROW_NAME = 14


@contextmanager
def shown(*, quiet: bool) -> Iterator[Observer]:
    """Yield the observer that fits stderr."""
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bars() as observer:
            yield observer
    else:
        yield _Lines().observe


def describe(flow: FlowProgress) -> str:
    """Return a flow's figures in one line: share, rate, RTT, window, losses."""
    share = "  ?  " if flow.ratio is None else f"{flow.ratio * 100:4.0f}%"
    return (
        f"{share} {flow.bits_per_second / 1e6:7.2f} Mbit/s  RTT {flow.rtt_ms:6.1f} ms  "
        f"window {flow.window / 1000:6.0f} kB  lost {flow.packets_lost}"
    )


class _Lines:
    """Writes plain lines: each phase once, the running flows now and then, and each flow's end."""

    def __init__(self) -> None:
        self._phase: Phase | None = None
        self._ended: set[str] = set()
        self._last = 0.0

    def observe(self, progress: Progress) -> None:
        """Take a snapshot."""
        if progress.phase is not self._phase:
            self._phase = progress.phase
            self._last = time.monotonic()
            click.echo(f"[{progress.phase.value}]", err=True)
        for flow in progress.flows:
            if flow.state in (FlowState.COMPLETED, FlowState.FAILED) and flow.name not in self._ended:
                self._ended.add(flow.name)
                self._line(progress, flow, flow.state.value)
        if time.monotonic() - self._last >= LINE_INTERVAL:
            self._last = time.monotonic()
            for flow in progress.flows:
                if flow.state is FlowState.RUNNING:
                    self._line(progress, flow, "")

    def _line(self, progress: Progress, flow: FlowProgress, state: str) -> None:
        seconds = progress.elapsed / SECOND
        line = f"{seconds:8.2f} s  {flow.name}: {flow.source} → {flow.target}  {describe(flow)}  {state}"
        click.echo(line.rstrip(), err=True)


@contextmanager
def _bars() -> Iterator[Observer]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskID, TextColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    wide = console.width >= WIDE_COLUMNS
    name, figures = TextColumn("{task.description}"), TextColumn("{task.fields[figures]}")
    columns = (name, BarColumn(bar_width=20), figures) if wide else (name, figures)
    with Bars(*columns, console=console, transient=True, refresh_per_second=10) as bars:
        phase = bars.add_task("", total=None, figures="")
        tasks: dict[str, TaskID] = {}
        last = 0.0
        previous: Phase | None = None

        def observe(progress: Progress) -> None:
            nonlocal last, previous
            now = time.monotonic()
            if progress.phase is previous and now - last < DRAW_INTERVAL:
                return
            last, previous = now, progress.phase
            # In the figures' column: it is longer than the names of flows.
            bars.update(phase, figures=f"{progress.elapsed / SECOND:6.1f} s  {progress.phase.value}")
            for flow in progress.flows:
                if flow.name not in tasks:
                    title = f"{flow.name}: {flow.source} → {flow.target}" if wide else _cut(flow.name)
                    tasks[flow.name] = bars.add_task(title, total=1.0, figures="")
                bars.update(
                    tasks[flow.name],
                    completed=flow.ratio or 0.0,
                    figures=describe(flow),
                )

        yield observe


def _cut(name: str) -> str:
    return name if len(name) <= _NARROW_NAME else name[: _NARROW_NAME - 1] + "…"
