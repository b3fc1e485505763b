"""The case suite: topologies that each show one thing, and that fail when it is not so (docs/cases.md).

A case is a topology file with ``case:`` in it, which says how tables name it and with which wrong settings
it must fail. Cases are the files of one directory: whoever adds a file adds a case.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from node.transports.base import STRAIT
from orchestrator.errors import EnvironmentMissingError, NotSupportedError, TestbedError
from orchestrator.experiment.runner import run
from orchestrator.results import RunResult, Verdict
from orchestrator.topology.errors import TopologyError, suggestion
from orchestrator.topology.load import load
from orchestrator.topology.model import Case, CaseBreak, Topology, WorkloadSpec

#: Where the cases of a checkout are.
DIRECTORY = Path(__file__).parents[2] / "topologies" / "cases"
SUFFIX = ".lab.yml"
#: The parameter by which a case lets another transport carry its flows.
TRANSPORT = "transport"
#: Kinds of expectations that hold of every transport; the others are Strait's own.
PORTABLE = frozenset(
    {
        *("completion", "goodput", "total goodput", "integrity", "fairness", "timeline done"),
        *("timeline missed", "utilisation"),
        *(
            f"{kind} {rank}"
            for kind in ("rtt", "latency", "round")
            for rank in ("min", "p50", "p90", "p99", "max")
        ),
    }
)


class CaseError(TestbedError):
    """There is no such case, or its file is none; the message says what to do."""


class Outcome(Enum):
    """What became of a case."""

    PASSED = "pass"
    FAILED = "fail"
    #: The back end or the transport cannot do it, on any machine (exit code 127).
    UNSUPPORTED = "unsupported"
    #: This machine lacks something for it (exit code 3).
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class CaseFile:
    """One case, as it stands in its directory."""

    name: str
    path: Path
    about: str
    case: Case
    #: Bytes that its flows move, as far as they say: what a simulation of it costs.
    volume: int
    #: Names of the parameters that it has.
    parameters: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "case": self.name,
            "letter": self.case.letter,
            "group": self.case.group,
            "shows": self.about,
            "file": str(self.path),
            "parameters": list(self.parameters),
            "breaks": [{"set": dict(each.parameters), "misses": each.misses} for each in self.case.breaks],
        }


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how cases run: one column of a matrix."""

    backend: str = "simulation"
    transport: str = STRAIT
    #: Parameters that take the place of the cases' own, where a case has them.
    parameters: tuple[tuple[str, str], ...] = ()
    seed: int | None = None
    capture: bool = True

    @property
    def title(self) -> str:
        """What tables call it."""
        given = "".join(f", {name} {value}" for name, value in self.parameters)
        return f"{self.backend}, {self.transport}{given}"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of one case in one setting."""

    name: str
    letter: str
    setting: Setting
    outcome: Outcome
    #: Why it did not pass, one sentence each.
    reasons: tuple[str, ...] = ()
    #: Worth knowing.
    notes: tuple[str, ...] = ()
    #: On the lab's clock; 0 where it did not run.
    seconds: float = 0.0
    #: Who impaired the packets: kernel, userspace or simulated; empty where it did not run.
    impairment: str = ""
    #: Where its files are; None: it did not run.
    directory: str | None = None
    #: Expectations: (text, flow, measured as people read it, held).
    expectations: tuple[tuple[str, str | None, str, bool], ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "case": self.name,
            "letter": self.letter,
            "backend": self.setting.backend,
            "transport": self.setting.transport,
            "parameters": dict(self.setting.parameters),
            "outcome": self.outcome.value,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "seconds": self.seconds,
            "impairment": self.impairment,
            "directory": self.directory,
            "expectations": [
                {"expectation": text, "flow": flow, "shown": shown, "passed": passed}
                for text, flow, shown, passed in self.expectations
            ],
        }


def find_cases(directory: Path = DIRECTORY, names: Sequence[str] = ()) -> list[CaseFile]:
    """Return the cases of a directory in the order of their names, or those that are named.

    Args:
        directory: holds a file for each case.
        names: of cases, or their letters; empty: all.

    Raises:
        CaseError: there is no such case, a file there is none, or two have one letter.
        TopologyError: a file there is not valid.
    """
    found = [_read(path) for path in sorted(directory.glob(f"*{SUFFIX}"))]
    if not found:
        raise CaseError(f"{directory} holds no cases; name their directory with --directory")
    found.sort(key=lambda each: each.case.group)
    known: dict[str, CaseFile] = {}
    for each in found:
        if each.case.letter in known:
            other = known[each.case.letter].path
            raise CaseError(f"{each.path} and {other} are both called {each.case.letter}; rename one of them")
        known |= {each.name: each, each.case.letter: each}
    for name in names:
        if name not in known:
            raise CaseError(f"there is no case {name!r}; {'; '.join(suggestion(name, known))}")
    return [known[name] for name in dict.fromkeys(names)] if names else found


def _read(path: Path) -> CaseFile:
    topology = load(path)
    if topology.case is None:
        raise CaseError(f"{path} is no case: add case: to it, or move it to another directory")
    name = path.name.removesuffix(SUFFIX)
    volume = sum(_volume(flow) for flow in topology.workloads)
    return CaseFile(name, path, topology.description, topology.case, volume, topology.parameters)


def _volume(flow: WorkloadSpec) -> int:
    sizes = flow.options.get("sizes")
    size = flow.options.get("size", 0)
    return flow.connections * (
        sum(sizes) if isinstance(sizes, list) else size if isinstance(size, int) else 0
    )


def prepared(
    case: CaseFile, setting: Setting, broken: CaseBreak | None = None
) -> tuple[Topology, tuple[str, ...]]:
    """Return what runs for a case in a setting, with the expectations that are not judged there.

    Args:
        case: the case.
        setting: where and how it runs.
        broken: a wrong setting of it; None: it runs as it is.

    Raises:
        NotSupportedError: it is about Strait alone, and the setting has another transport.
        TopologyError: a parameter's value does not fit.
    """
    parameters = dict(case.case.on.get(setting.backend, {}))
    if setting.transport != STRAIT:
        if TRANSPORT not in case.parameters:
            raise NotSupportedError(f"{case.name} is about Strait: {setting.transport} has nothing like it")
        parameters[TRANSPORT] = setting.transport
    parameters |= {name: value for name, value in setting.parameters if name in case.parameters}
    if broken is not None:
        parameters |= broken.parameters
    topology = load(case.path, parameters)
    if setting.transport == STRAIT:
        return topology, ()
    kept = tuple(each for each in topology.expectations if each.kind in PORTABLE)
    left = tuple(each.text for each in topology.expectations if each.kind not in PORTABLE)
    return dataclasses.replace(topology, expectations=kept), left


async def run_case(
    case: CaseFile, setting: Setting, directory: Path, broken: CaseBreak | None = None
) -> CaseResult:
    """Run a case and return what became of it; arguments as of ``prepared``.

    Args:
        directory: the results directory; the run makes its own below it.
    """
    try:
        topology, left = prepared(case, setting, broken)
        result = await run(
            topology, setting.backend, directory=directory, seed=setting.seed, capture=setting.capture
        )
    except NotSupportedError as error:
        return CaseResult(case.name, case.case.letter, setting, Outcome.UNSUPPORTED, (str(error),))
    except EnvironmentMissingError as error:
        return CaseResult(case.name, case.case.letter, setting, Outcome.MISSING, (str(error),))
    except TopologyError:
        raise  # a parameter that does not fit: for whoever gave it
    except TestbedError as error:
        return CaseResult(case.name, case.case.letter, setting, Outcome.FAILED, (str(error),))
    notes = (f"Strait's own, so not judged: {', '.join(left)}",) if left else ()
    return _told(case, setting, result, notes)


def run_case_alone(
    case: CaseFile, setting: Setting, directory: Path, broken: CaseBreak | None = None
) -> CaseResult:
    """Do what ``run_case`` does, in a process that does nothing else."""
    return asyncio.run(run_case(case, setting, directory, broken))


def _told(case: CaseFile, setting: Setting, result: RunResult, notes: tuple[str, ...]) -> CaseResult:
    return CaseResult(
        name=case.name,
        letter=case.case.letter,
        setting=setting,
        outcome=Outcome.PASSED if result.verdict is Verdict.PASS else Outcome.FAILED,
        reasons=tuple(result.reasons),
        notes=(*notes, *result.notes),
        seconds=result.duration / 1e9,
        impairment=result.manifest.impairment,
        directory=str(result.directory),
        expectations=tuple(
            (found.text, found.flow, found.shown, found.passed) for found in result.expectations
        ),
    )
