"""One cell of a table of runs: what it is, what became of each turn of it, and of all of them together.

`narrows cases` and `narrows matrix` are both such tables. They differ in what a cell is (``Cell``), and in
nothing that happens to it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from orchestrator.errors import EnvironmentMissingError, NotSupportedError, TestbedError
from orchestrator.experiment.expectations import judgeable
from orchestrator.experiment.progress import FlowState, Progress
from orchestrator.experiment.repeats import CONFIDENCE, judge_values, values_of
from orchestrator.experiment.runner import run
from orchestrator.measure.intervals import mean_interval
from orchestrator.results import ExpectationResult, RunResult, Verdict
from orchestrator.topology.errors import TopologyError
from orchestrator.topology.expectations import parse_expectation
from orchestrator.topology.model import Expectation, Topology

#: Points of a run's curve of rates that are kept.
MOST_POINTS = 48


class Outcome(Enum):
    """How a cell, or one turn of it, ended."""

    PASSED = "pass"
    FAILED = "fail"
    #: The back end, its kernel, the transport or the topology cannot do it (exit code 127).
    UNSUPPORTED = "unsupported"
    #: This machine lacks something that can be had (exit code 3).
    MISSING = "missing"
    #: It could not be tried: the lab could not be made, a file is not valid, it took too long.
    ERROR = "error"
    #: Not run yet, or not in every turn.
    NOT_RUN = "not run"

    @property
    def letter(self) -> str:
        """What tables show: P, F, U, M, E or -."""
        return "-" if self is Outcome.NOT_RUN else self.value[0].upper()


#: The worst of several turns is the cell's.
_WORST = (
    *(Outcome.FAILED, Outcome.ERROR, Outcome.NOT_RUN),
    *(Outcome.MISSING, Outcome.UNSUPPORTED, Outcome.PASSED),
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of a cell."""

    outcome: Outcome
    seed: int | None
    #: Why, if it is not a pass.
    reasons: tuple[str, ...] = ()
    #: Worth knowing.
    notes: tuple[str, ...] = ()
    #: The run's directory; empty: there was none.
    directory: str = ""
    #: Of all flows together, bits a second; None: not all completed.
    goodput: float | None = None
    #: Until the last flow was over, on the lab's clock; None: it did not run.
    seconds: float | None = None
    #: Who impaired the packets: kernel, userspace or simulated; empty where it did not run.
    impairment: str = ""
    #: The rate of all flows over the run, bits a second.
    curve: tuple[float, ...] = ()
    #: Expectations about this run.
    expectations: tuple[ExpectationResult, ...] = ()
    #: What this run adds to each expectation about all turns; not judged yet.
    together: tuple[ExpectationResult, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            **asdict(self),
            "outcome": self.outcome.value,
            "letter": self.outcome.letter,
            "expectations": [found.to_json() for found in self.expectations],
            "together": [found.to_json() for found in self.together],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Turn:
        """Return what ``to_json`` gave."""
        told = {name: value for name, value in data.items() if name != "letter"}
        told |= {name: tuple(told[name]) for name in ("reasons", "notes", "curve")}
        told |= {name: tuple(map(_expectation, told[name])) for name in ("expectations", "together")}
        return cls(**{**told, "outcome": Outcome(told["outcome"])})


def _expectation(data: Mapping[str, Any]) -> ExpectationResult:
    names = {"text" if name == "expectation" else name: value for name, value in data.items()}
    return ExpectationResult(**names)


@dataclass(frozen=True, slots=True)
class CellResult:
    """What became of a cell."""

    outcome: Outcome
    #: So many there should be; an interrupted table has fewer.
    repeats: int
    turns: tuple[Turn, ...]
    #: Why it did not pass, one sentence each.
    reasons: tuple[str, ...] = ()
    #: Worth knowing.
    notes: tuple[str, ...] = ()
    #: Those of all turns, then those about all turns together.
    expectations: tuple[ExpectationResult, ...] = ()

    @property
    def goodput(self) -> tuple[float, float, float, float] | None:
        """Mean, 95 % interval and median of the goodput; None: no turn has one."""
        values = [turn.goodput for turn in self.turns if turn.goodput is not None]
        if not values:
            return None
        low, high = mean_interval(values, confidence=CONFIDENCE)
        return statistics.fmean(values), low, high, statistics.median(values)

    @property
    def seconds(self) -> float:
        """Of all turns, on the labs' clocks."""
        return sum(turn.seconds or 0.0 for turn in self.turns)

    @property
    def impairment(self) -> str:
        """Who impaired the packets; empty where nothing ran."""
        return ", ".join(sorted({turn.impairment for turn in self.turns if turn.impairment}))


class Cell(Protocol):
    """One combination. It goes to another process, so it holds nothing but data."""

    @property
    def row(self) -> str:
        """Its row, as progress and messages name it."""
        ...

    @property
    def column(self) -> str:
        """Its column."""
        ...

    @property
    def backend(self) -> str:
        """Name of its back end, or ``auto``."""
        ...

    @property
    def repeats(self) -> int:
        """How often it is run."""
        ...

    @property
    def volume(self) -> int:
        """Bytes that its flows move, as far as that is known: what a simulation of it costs."""
        ...

    def prepared(self) -> tuple[Topology, tuple[str, ...]]:
        """Return what runs, and notes on it.

        Raises:
            NotSupportedError: this combination cannot be.
            TopologyError: the file, or a value that was given for it, is not valid.
        """
        ...

    def judged(self, result: CellResult) -> CellResult:
        """Return the result as this kind of cells sees it."""
        ...


async def run_turn(
    cell: Cell, number: int, directory: Path, *, seed: int | None = None, capture: bool = True
) -> Turn:
    """Run a cell once and return what became of it, whatever that is.

    Args:
        cell: what to run.
        number: of the turn, from 0: it is added to the seed.
        directory: the run makes its own below it.
        seed: of the first turn; None: the topology's.
        capture: whether every link is captured and every frame checked.
    """
    curve = _Curve()
    with_seed: int | None = None
    try:
        topology, notes = cell.prepared()
        with_seed = (topology.seed if seed is None else seed) + number
        result = await run(
            topology,
            cell.backend,
            directory=directory,
            seed=with_seed,
            capture=capture,
            judge_aggregates=False,
            on_progress=curve.observe,
        )
    except NotSupportedError as error:
        return Turn(Outcome.UNSUPPORTED, with_seed, (str(error),))
    except EnvironmentMissingError as error:
        return Turn(Outcome.MISSING, with_seed, (str(error),))
    except TopologyError as error:
        return Turn(Outcome.ERROR, with_seed, tuple(problem.message for problem in error.problems))
    except (TestbedError, LookupError, OSError) as error:
        return Turn(Outcome.ERROR, with_seed, (str(error),))
    apart = [each for each in judgeable(topology.expectations, captured=capture) if each.aggregate]
    return _told(apart, result, notes, curve.points())


def _told(
    apart: Sequence[Expectation], result: RunResult, notes: tuple[str, ...], curve: tuple[float, ...]
) -> Turn:
    completed = bool(result.flows) and all(flow.completed for flow in result.flows)
    return Turn(
        Outcome.PASSED if result.verdict is Verdict.PASS else Outcome.FAILED,
        result.manifest.seed,
        result.reasons,
        (*notes, *result.notes),
        str(result.directory),
        goodput=sum(flow.bits_per_second for flow in result.flows) if completed else None,
        seconds=result.duration / 1e9,
        impairment=result.manifest.impairment,
        curve=curve,
        expectations=result.expectations,
        together=tuple(
            ExpectationResult(each.text, subject, passed=False, measured=value, shown="")
            for each in apart
            for subject, (value,) in values_of(each, [result]).items()
        ),
    )


def cell_result(cell: Cell, turns: Sequence[Turn]) -> CellResult:
    """Return what the turns of a cell say together."""
    seen = [turn.outcome for turn in turns]
    whole = len(turns) >= cell.repeats
    if not whole:
        seen.append(Outcome.NOT_RUN)
    together = tuple(_judged_together(turns)) if whole else ()
    if any(not found.passed for found in together):
        seen.append(Outcome.FAILED)
    several = cell.repeats > 1
    reasons = dict.fromkeys(
        f"seed {turn.seed}: {why}" if several and turn.directory else why
        for turn in turns
        for why in turn.reasons
    )
    reasons |= dict.fromkeys(found.reason for found in together if not found.passed)
    return cell.judged(
        CellResult(
            min(seen, key=_WORST.index),
            cell.repeats,
            tuple(turns),
            tuple(reasons),
            tuple(dict.fromkeys(note for turn in turns for note in turn.notes)),
            (*(found for turn in turns for found in turn.expectations), *together),
        )
    )


def _judged_together(turns: Sequence[Turn]) -> Iterator[ExpectationResult]:
    """Yield whether expectations about all turns held; nothing where a turn did not run at all."""
    if not all(turn.directory for turn in turns):
        return
    values: dict[tuple[str, str | None], list[float | None]] = {}
    for turn in turns:
        for found in turn.together:
            values.setdefault((found.text, found.flow), []).append(found.measured)
    for (text, subject), measured in values.items():
        yield judge_values(parse_expectation(text, None), subject, measured)


def gave_up(limit_seconds: float) -> Turn:
    """Return a turn that took too long."""
    why = f"given up after {limit_seconds:g} s of real time; give it more with --limit, or run fewer at once"
    return Turn(Outcome.ERROR, None, (why,))


def volume_of(topology: Topology) -> int:
    """Return the bytes that the flows of a topology move, as far as they say."""
    found = 0
    for flow in topology.workloads:
        sizes, size = flow.options.get("sizes"), flow.options.get("size", 0)
        one = sum(sizes) if isinstance(sizes, list) else size if isinstance(size, int) else 0
        found += flow.connections * one
    return found


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
