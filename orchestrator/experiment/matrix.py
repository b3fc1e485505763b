"""A table of runs: topologies × settings × transports × back ends, each several times.

Repetitions go in turns, the first of every cell, then the second: what drifts on the machine meets all cells
alike. What is finished is kept, so that a matrix which was interrupted goes on where it ended.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from orchestrator.errors import EnvironmentMissingError, NotSupportedError, TestbedError
from orchestrator.experiment.progress import FlowState, Observer, Progress
from orchestrator.measure.intervals import mean_interval
from orchestrator.results import RunResult, Verdict, write_atomically
from orchestrator.topology.errors import TopologyError
from orchestrator.topology.load import load
from orchestrator.topology.model import Topology

MATRIX_FILE, PAGE_FILE, RUNS = "matrix.json", "matrix.html", "runs"
_VERSION = 1
#: Points of a run's curve of rates that are kept.
MOST_POINTS = 48


class Letter(Enum):
    """How a cell, or one run of it, ended."""

    PASS = "P"
    FAIL = "F"
    #: The back end, the transport or the topology cannot do it (exit code 127).
    UNSUPPORTED = "U"
    #: It could not be tried: the machine lacks something, or the lab could not be made.
    ERROR = "E"
    #: Not run yet.
    MISSING = "-"


#: The worst of several runs is the cell's.
_WORST = (Letter.FAIL, Letter.ERROR, Letter.MISSING, Letter.UNSUPPORTED, Letter.PASS)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One combination."""

    #: The topology's file.
    file: str
    backend: str
    #: ``--set`` and ``--with``, by name.
    parameters: Mapping[str, str]
    transport: Mapping[str, str]

    @property
    def row(self) -> str:
        """Its row: topology, parameters and back end."""
        words = [Path(self.file).name.removesuffix(".yml").removesuffix(".lab")]
        words += [f"{name}={value}" for name, value in self.parameters.items()]
        return " ".join([*words, *([self.backend] if self.backend != "auto" else [])])

    @property
    def column(self) -> str:
        """Its column: settings of the transport."""
        return (
            " ".join(
                value if name in ("protocol", "congestion") else f"{name}={value}"
                for name, value in self.transport.items()
            )
            or "as written"
        )

    def key(self, turn: int) -> str:
        """Return the name of a run's file: equal for equal combinations of equal files."""
        try:
            content = Path(self.file).read_bytes()
        except OSError:
            content = b""
        told = json.dumps([self.file, self.backend, dict(self.parameters), dict(self.transport), turn])
        return hashlib.sha256(content + b"\0" + told.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of a cell."""

    letter: Letter
    seed: int | None
    #: Why, if it is not a pass.
    reasons: tuple[str, ...] = ()
    #: The run's directory; empty: there was none.
    directory: str = ""
    #: Of all flows together, bits a second; None: not all completed.
    goodput: float | None = None
    #: Until the last flow was over, seconds.
    seconds: float | None = None
    #: The rate of all flows over the run, bits a second.
    curve: tuple[float, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {**asdict(self), "letter": self.letter.value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Turn:
        """Return what ``to_json`` gave."""
        told = {**data, "letter": Letter(data["letter"])}
        return cls(**{**told, "reasons": tuple(told["reasons"]), "curve": tuple(told["curve"])})


@dataclass(slots=True)
class Matrix:
    """All cells and what became of them."""

    cells: Sequence[Cell]
    repeats: int
    directory: Path
    turns: dict[Cell, list[Turn]] = field(default_factory=dict)

    def letter(self, cell: Cell) -> Letter:
        """Return how a cell ended: as the worst of its runs."""
        found = [turn.letter for turn in self.turns.get(cell, ())]
        if len(found) < self.repeats:
            found.append(Letter.MISSING)
        return min(found, key=_WORST.index)

    def goodput(self, cell: Cell) -> tuple[float, float, float, float] | None:
        """Return mean, 95 % interval and median of a cell's goodput; None: no run has one."""
        values = [turn.goodput for turn in self.turns.get(cell, ()) if turn.goodput is not None]
        if not values:
            return None
        low, high = mean_interval(values, confidence=0.95)
        return statistics.fmean(values), low, high, statistics.median(values)

    @property
    def verdict(self) -> Verdict:
        """PASS: nothing failed and nothing is missing; what is not supported is no failure."""
        good = (Letter.PASS, Letter.UNSUPPORTED)
        return Verdict.PASS if all(self.letter(cell) in good for cell in self.cells) else Verdict.FAIL

    @property
    def supported(self) -> bool:
        """Whether anything at all could be run."""
        return any(self.letter(cell) is not Letter.UNSUPPORTED for cell in self.cells)

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data; docs/command-line.md says what each key is."""
        return {
            "version": _VERSION,
            "verdict": self.verdict.value,
            "repeats": self.repeats,
            "cells": [self._cell(cell) for cell in self.cells],
            "directory": str(self.directory),
        }

    def _cell(self, cell: Cell) -> dict[str, object]:
        told = self.goodput(cell)
        names = ("mean", "low", "high", "median")
        return {
            "row": cell.row,
            "column": cell.column,
            "file": cell.file,
            "backend": cell.backend,
            "parameters": dict(cell.parameters),
            "transport": dict(cell.transport),
            "letter": self.letter(cell).value,
            "goodput": None if told is None else dict(zip(names, told, strict=True)),
            "runs": [turn.to_json() for turn in self.turns.get(cell, ())],
        }


def cells_of(
    files: Sequence[str],
    backends: Sequence[str],
    parameters: Mapping[str, Sequence[str]],
    transport: Mapping[str, Sequence[str]],
) -> list[Cell]:
    """Return every combination, row by row."""
    return [
        Cell(
            file,
            backend,
            dict(zip(parameters, values, strict=True)),
            dict(zip(transport, words, strict=True)),
        )
        for file in files
        for values in itertools.product(*parameters.values())
        for backend in backends
        for words in itertools.product(*transport.values())
    ]


#: Runs a topology on a back end with a seed, its files below a directory.
RunOnce = Callable[[Topology, str, int, Path, Observer], Awaitable[RunResult]]


async def run_matrix(
    matrix: Matrix,
    run_once: RunOnce,
    *,
    seed: int | None = None,
    on_turn: Callable[[Cell, int, Turn, bool], None] = lambda cell, number, turn, kept: None,
) -> None:
    """Run what is not finished, turn by turn; failures of cells stop nothing.

    Args:
        matrix: takes the results; its directory keeps each as soon as it is there.
        run_once: does one run.
        seed: of the first turn, the next one for the second …; None: each topology's own.
        on_turn: is told of each run, and whether it was finished before.

    Raises:
        ResultsError: the results cannot be written.
    """
    for number in range(matrix.repeats):
        for cell in matrix.cells:
            file = matrix.directory / RUNS / f"{cell.key(number)}.json"
            turn = _kept(file)
            kept = turn is not None
            if turn is None:
                turn = await _run(cell, number, run_once, matrix.directory, seed)
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(file, json.dumps(turn.to_json()) + "\n")
            matrix.turns.setdefault(cell, []).append(turn)
            on_turn(cell, number, turn, kept)


async def _run(cell: Cell, number: int, run_once: RunOnce, directory: Path, seed: int | None) -> Turn:
    curve = _Curve()
    with_seed: int | None = None
    try:
        topology = load(cell.file, cell.parameters, transport=cell.transport)
        with_seed = (topology.seed if seed is None else seed) + number
        result = await run_once(topology, cell.backend, with_seed, directory, curve.observe)
    except NotSupportedError as error:
        return Turn(Letter.UNSUPPORTED, with_seed, (str(error),))
    except TopologyError as error:
        # The file alone is right: then it is the combination that cannot be.
        letter = Letter.UNSUPPORTED if cell.transport and _is_right(cell) else Letter.ERROR
        return Turn(letter, with_seed, tuple(problem.message for problem in error.problems))
    except (EnvironmentMissingError, TestbedError, OSError) as error:
        return Turn(Letter.ERROR, with_seed, (str(error),))
    completed = bool(result.flows) and all(flow.completed for flow in result.flows)
    return Turn(
        Letter.PASS if result.verdict is Verdict.PASS else Letter.FAIL,
        with_seed,
        result.reasons,
        str(result.directory),
        goodput=sum(flow.bits_per_second for flow in result.flows) if completed else None,
        seconds=result.duration / 1e9,
        curve=curve.points(),
    )


def _is_right(cell: Cell) -> bool:
    """Return whether a cell's file is valid without its settings of the transport."""
    try:
        load(cell.file, cell.parameters)
    except TopologyError:
        return False
    return True


def _kept(file: Path) -> Turn | None:
    """Return a run that was finished before; one that could not be tried is tried again."""
    try:
        turn = Turn.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if turn.letter is Letter.ERROR else turn


class _Curve:
    """The rate of all flows of a run together, as its snapshots tell."""

    def __init__(self) -> None:
        self._found: list[float] = []

    def observe(self, progress: Progress) -> None:
        """Take a snapshot."""
        rates = [flow.bits_per_second for flow in progress.flows if flow.state is FlowState.RUNNING]
        if rates and any(rates):
            self._found.append(sum(rates))

    def points(self) -> tuple[float, ...]:
        """Return the curve, thinned out."""
        step = max(1, -(-len(self._found) // MOST_POINTS))
        return tuple(round(rate) for rate in self._found[::step])
