"""One topology several times, with one seed after the other, and what the runs say together."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.experiment.expectations import AGGREGATE_FUNCTIONS, compare, judgeable, measure, show_value
from orchestrator.experiment.manifest import new_run_id
from orchestrator.measure.intervals import mean_interval
from orchestrator.results import ExpectationResult, RunResult, Verdict, make_run_directory, write_atomically
from orchestrator.topology.expectations import EXPECTATION_KINDS
from orchestrator.topology.model import Expectation, Topology

REPEATS_FILE = "repeats.json"
CONFIDENCE = 0.95
#: What is told of the flows of every repeated run, whether or not it is expected.
ALWAYS = ("completion", "goodput", "rtt", "loss", "retransmissions")


@dataclass(frozen=True, slots=True)
class Statistic:
    """A quantity over all runs."""

    #: The flow, or link; None: the run.
    subject: str | None
    quantity: str
    #: Base unit: ns, bit/s, ratio, count …
    unit: str
    #: Of each run in which it was measured.
    values: tuple[float, ...]
    #: Runs in which it was not.
    missing: int

    @property
    def mean(self) -> float:
        """The mean."""
        return statistics.fmean(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean, by Student's t."""
        return mean_interval(self.values, confidence=CONFIDENCE)

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        low, high = self.interval
        return {
            "subject": self.subject,
            "quantity": self.quantity,
            "unit": self.unit,
            "count": len(self.values),
            "missing": self.missing,
            "mean": self.mean,
            "low": low,
            "high": high,
            "median": self.median,
            "values": list(self.values),
        }


@dataclass(frozen=True, slots=True)
class RepeatResult:
    """All runs of a topology."""

    runs: tuple[RunResult, ...]
    statistics: tuple[Statistic, ...]
    #: Those about all runs together.
    expectations: tuple[ExpectationResult, ...]
    directory: Path

    @property
    def verdict(self) -> Verdict:
        """PASS: every run passed, and what is expected of all together held."""
        passed = all(run.verdict is Verdict.PASS for run in self.runs)
        held = all(expectation.passed for expectation in self.expectations)
        return Verdict.PASS if passed and held else Verdict.FAIL

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return why the verdict is FAIL, one sentence each."""
        of_runs = (f"seed {run.manifest.seed}: {reason}" for run in self.runs for reason in run.reasons)
        of_all = (found.reason for found in self.expectations if not found.passed)
        return (*of_runs, *of_all)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what is worth knowing of every run: what was not judged, and why."""
        first, *others = self.runs
        return tuple(note for note in first.notes if all(note in run.notes for run in others))

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data; docs/command-line.md says what each key is."""
        first = self.runs[0].manifest
        return {
            "version": 1,
            "verdict": self.verdict.value,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "lab": first.lab,
            "backend": first.backend,
            "impairment": first.impairment,
            "repeats": len(self.runs),
            "passed": sum(run.verdict is Verdict.PASS for run in self.runs),
            "statistics": [found.to_json() for found in self.statistics],
            "expectations": [found.to_json() for found in self.expectations],
            "runs": [
                {
                    "run_id": run.manifest.run_id,
                    "seed": run.manifest.seed,
                    "verdict": run.verdict.value,
                    "reasons": list(run.reasons),
                    "directory": str(run.directory),
                }
                for run in self.runs
            ],
            "directory": str(self.directory),
        }


async def run_repeatedly(
    topology: Topology,
    repeats: int,
    run_once: Callable[[Topology, int, Path], Awaitable[RunResult]],
    *,
    seed: int | None = None,
    capture: bool = True,
    directory: Path = Path("results"),
) -> RepeatResult:
    """Run a topology ``repeats`` times and return all results, written to a directory of their own too.

    Args:
        topology: expectations of it that are about all runs together are judged at the end.
        repeats: at least 1.
        run_once: runs a topology with a seed, its files below a directory; it judges no expectation
            that is about all runs.
        seed: the first one; None: the topology's.
        capture: whether ``run_once`` captures; if not, what only captures tell is not judged.
        directory: the results directory.

    Raises:
        TestbedError: a run could not be made at all.
    """
    first = topology.seed if seed is None else seed
    place = make_run_directory(directory, topology.name, f"x{repeats}-{new_run_id()}")
    apart = [each for each in judgeable(topology.expectations, captured=capture) if each.aggregate]
    runs = [await run_once(topology, first + number, place) for number in range(repeats)]
    result = RepeatResult(
        runs=tuple(runs),
        statistics=tuple(statistics_of(runs, topology.expectations)),
        expectations=tuple(judged for found in apart for judged in judge_together(found, runs)),
        directory=place,
    )
    write_atomically(place / REPEATS_FILE, json.dumps(result.to_json(), indent=2) + "\n")
    return result


def judge_together(expectation: Expectation, runs: Sequence[RunResult]) -> Iterator[ExpectationResult]:
    """Yield whether an expectation about all runs held, for each flow or link that it concerns."""
    for subject, values in values_of(expectation, runs).items():
        yield judge_values(expectation, subject, values)


def judge_values(
    expectation: Expectation, subject: str | None, values: Sequence[float | None]
) -> ExpectationResult:
    """Return whether an expectation about all runs held; with a mean, its interval is told.

    Args:
        expectation: it has an aggregate.
        subject: the flow or link.
        values: of each run; None: it was not measured there, so that the expectation does not hold.
    """
    whole = [value for value in values if value is not None]
    if len(whole) < len(values):
        return compare(expectation, subject, None, "not measured in every run")
    found = compare(expectation, subject, AGGREGATE_FUNCTIONS[expectation.aggregate](whole))
    if expectation.aggregate != "mean" or len(whole) < 2:
        return found
    unit = EXPECTATION_KINDS[expectation.kind].unit
    low, high = (show_value(unit, end) for end in mean_interval(whole, confidence=CONFIDENCE))
    told = f"{found.shown} ({CONFIDENCE:.0%} interval of {len(whole)} runs: {low} to {high})"
    return dataclasses.replace(found, shown=told)


def statistics_of(runs: Sequence[RunResult], expected: Iterable[Expectation]) -> Iterator[Statistic]:
    """Yield statistics of what every flow has, and of all that is expected."""
    kinds = dict.fromkeys((*ALWAYS, *(found.kind for found in expected)))
    asked = {found.kind: found for found in expected if found.arguments}
    for name in kinds:
        kind = EXPECTATION_KINDS[name]
        if kind.unit == "ok":
            continue
        every = asked.get(name) or Expectation(name, None, kind.operators[0], 0.0, name)
        for subject, values in values_of(dataclasses.replace(every, flow=None), runs).items():
            whole = tuple(value for value in values if value is not None)
            if whole:
                yield Statistic(subject, name, kind.unit, whole, len(values) - len(whole))


def values_of(expectation: Expectation, runs: Sequence[RunResult]) -> dict[str | None, list[float | None]]:
    """Return what each run measured of what an expectation is about, by subject."""
    found: dict[str | None, list[float | None]] = {}
    for run in runs:
        flows = {flow.name: flow for flow in run.flows}
        for measured in measure(expectation, flows, run.wire, run.links, run.timeline, run.counters):
            found.setdefault(measured.subject, []).append(measured.value)
    return found
