"""Runs a table of cells: simulations side by side, real labs one after the other, each turn kept.

Repetitions go in turns, the first of every cell, then the second: what drifts on the machine meets all cells
alike. What is finished is kept, so that a table which was interrupted goes on where it ended. Whatever
becomes of a turn, the others are run.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from orchestrator.backends.base import BACKENDS
from orchestrator.errors import TestbedError
from orchestrator.experiment.cells import Cell, CellResult, Outcome, Turn, cell_result, gave_up, run_turn
from orchestrator.experiment.selection import AUTO
from orchestrator.experiment.turn_process import run_turn_apart
from orchestrator.results import Verdict, write_atomically

RUNS = "runs"
#: Seconds of real time that a turn may take if nobody says otherwise. Its topology's time limit ends it far
#: sooner; this is for a lab, or a simulation, that hangs.
PATIENCE_SECONDS = 3600.0

C = TypeVar("C", bound=Cell)


@dataclass(slots=True)
class Table(Generic[C]):
    """All cells and what became of them."""

    cells: Sequence[C]
    directory: Path
    #: By place of the cell in ``cells``, by number of the turn.
    turns: dict[int, dict[int, Turn]] = field(default_factory=dict)

    def results(self) -> list[CellResult]:
        """Return what became of each cell, in their order; of an interrupted table too."""
        return [
            cell_result(cell, [turn for _, turn in sorted(self.turns.get(index, {}).items())])
            for index, cell in enumerate(self.cells)
        ]

    @property
    def verdict(self) -> Verdict:
        """PASS: nothing failed, could not be tried or is missing; what is not supported is no failure."""
        good = (Outcome.PASSED, Outcome.UNSUPPORTED, Outcome.MISSING)
        return Verdict.PASS if all(each.outcome in good for each in self.results()) else Verdict.FAIL


@dataclass(frozen=True, slots=True)
class Ran:
    """A turn that is over, as progress shows it."""

    cell: Cell
    #: From 0.
    number: int
    turn: Turn
    #: Whether it was finished before.
    kept: bool
    #: Turns that are over, and turns that there are.
    done: int
    total: int


OnRan: TypeAlias = Callable[[Ran], None]


async def run_table(
    table: Table[C],
    *,
    seed: int | None = None,
    capture: bool = True,
    jobs: int | None = None,
    limit_seconds: float = PATIENCE_SECONDS,
    on_ran: OnRan = lambda _: None,
) -> None:
    """Run what is not finished; failures of cells stop nothing.

    Args:
        table: takes the results; its directory keeps each as soon as it is there.
        seed: of the first turn, the next one for the second …; None: each topology's own.
        capture: whether every link is captured and every frame checked.
        jobs: simulations at once; None: one for each CPU.
        limit_seconds: of real time, after which a turn is given up.
        on_ran: is told of each turn that is over.

    Raises:
        ResultsError: the results cannot be written.
        UnknownNameError: there is no such back end.
    """
    virtual = _in_virtual_time({cell.backend for cell in table.cells})
    total = sum(cell.repeats for cell in table.cells)
    done = 0

    def take(index: int, number: int, turn: Turn, *, kept: bool) -> None:
        nonlocal done
        done += 1
        table.turns.setdefault(index, {})[number] = turn
        on_ran(Ran(table.cells[index], number, turn, kept, done, total))

    async def one(index: int, number: int) -> None:
        cell = table.cells[index]
        run = run_turn_apart if virtual[cell.backend] else _run_here
        turn = await run(cell, number, table.directory, limit_seconds, seed=seed, capture=capture)
        file = files[index, number]
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(turn.to_json()) + "\n")
        take(index, number, turn, kept=False)

    names = [_name(cell, seed, capture=capture) for cell in table.cells]
    files = {
        (index, number): table.directory / RUNS / f"{names[index]}-{number + 1}.json"
        for index, number in _in_turns(table.cells)
    }
    left: list[tuple[int, int]] = []
    for (index, number), file in files.items():
        before = _kept(file, table.directory)
        if before is None:
            left.append((index, number))
        else:
            take(index, number, before, kept=True)
    beside = [place for place in left if virtual[table.cells[place[0]].backend]]
    # The dearest first, so that no long one is left alone at the end: what drifts on the machine does not
    # matter to simulations. The sort is stable, so equal ones keep their turns.
    beside.sort(key=lambda place: -table.cells[place[0]].volume)
    await _side_by_side(one, beside, jobs or os.cpu_count() or 1)
    for index, number in left:
        if not virtual[table.cells[index].backend]:
            await one(index, number)


async def _side_by_side(
    one: Callable[[int, int], Awaitable[None]], places: Sequence[tuple[int, int]], jobs: int
) -> None:
    """Run simulations, as many at once as there are jobs."""
    waiting = iter(places)

    async def worker() -> None:
        for index, number in waiting:
            await one(index, number)

    # Results that cannot be written end all of it, and the error is that one, not a group of one.
    tasks = [asyncio.create_task(worker()) for _ in range(min(jobs, len(places)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run_here(
    cell: Cell, number: int, directory: Path, limit_seconds: float, *, seed: int | None, capture: bool
) -> Turn:
    """Run a real lab; when time is over it is removed as on Ctrl-C."""
    try:
        async with asyncio.timeout(limit_seconds):
            return await run_turn(cell, number, directory, seed=seed, capture=capture)
    except TimeoutError:
        return gave_up(limit_seconds)


def _in_turns(cells: Sequence[Cell]) -> Iterable[tuple[int, int]]:
    """Yield the place of a cell and the number of a turn: the first of all, then the second."""
    for number in range(max((cell.repeats for cell in cells), default=0)):
        for index, cell in enumerate(cells):
            if number < cell.repeats:
                yield index, number


def _in_virtual_time(backends: Iterable[str]) -> Mapping[str, bool]:
    return {name: name != AUTO and BACKENDS[name]().capabilities().virtual_time for name in backends}


def _name(cell: Cell, seed: int | None, *, capture: bool) -> str:
    """Return how a cell's turns are known: by what runs, whatever files, traces and options it is made of."""
    try:
        topology, _ = cell.prepared()
        told = repr(topology)
    except TestbedError as error:
        told = str(error)
    words = "\0".join((cell.row, cell.column, cell.backend, str(seed), str(capture), told))
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _kept(file: Path, directory: Path) -> Turn | None:
    """Return a turn that was finished before; one that could not be tried is tried again.

    Args:
        file: keeps it.
        directory: of the table. What the turn says of its own directory was told from where that command
            ran: this one may run elsewhere, or the table may have moved.
    """
    try:
        turn = Turn.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # whatever is there instead of one
        return None
    if turn.outcome in (Outcome.ERROR, Outcome.MISSING):
        return None
    place = str(directory / Path(turn.directory).name) if turn.directory else ""
    return replace(turn, directory=place)
