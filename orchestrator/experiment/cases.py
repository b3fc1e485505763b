"""The case suite: topologies that each show one thing, and that fail when it is not so (docs/cases.md).

A case is a topology file with ``case:`` in it, which says how tables name it and with which wrong settings
it must fail. Cases are the files of one directory: whoever adds a file adds a case.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node.registry import UnknownNameError
from node.transports.base import STRAIT
from orchestrator.errors import NotSupportedError, TestbedError
from orchestrator.experiment.cell_table import Table
from orchestrator.experiment.cells import CellResult, Outcome, volume_of
from orchestrator.experiment.expectations import NOT_CHECKED
from orchestrator.topology.errors import suggestion
from orchestrator.topology.expectations import EXPECTATION_KINDS, parse_expectation
from orchestrator.topology.load import load
from orchestrator.topology.model import Case, CaseBreak, Expectation, Topology

#: Version of the JSON below; it changes when a key changes its meaning or goes.
_VERSION = 1
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
    #: How often it is run.
    repeats: int = 1

    def to_json(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "case": self.name,
            "letter": self.case.letter,
            "group": self.case.group,
            "shows": self.about,
            "file": str(self.path),
            "parameters": list(self.parameters),
            "repeats": self.repeats,
            "breaks": [{"set": dict(each.parameters), "misses": each.misses} for each in self.case.breaks],
        }


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how cases run: one column of a matrix."""

    backend: str = "simulation"
    transport: str = STRAIT
    #: Parameters that take the place of the cases' own, where a case has them.
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def title(self) -> str:
        """What tables call it."""
        given = "".join(f", {name} {value}" for name, value in self.parameters)
        return f"{self.backend}, {self.transport}{given}"


@dataclass(frozen=True, slots=True)
class CaseCell:
    """One case in one setting."""

    case: CaseFile
    setting: Setting
    #: The wrong setting of it that it must notice; None: it runs as it is.
    wrong: CaseBreak | None = None
    repeats: int = 1

    @property
    def row(self) -> str:
        """Its row: letter, name, and what is wrong with it."""
        return f"{self.case.case.letter} {self.case.name}{f' {told(self.wrong)}' if self.wrong else ''}"

    @property
    def column(self) -> str:
        """Its column: where and how it runs."""
        return self.setting.title

    @property
    def backend(self) -> str:
        """Name of its back end."""
        return self.setting.backend

    @property
    def volume(self) -> int:
        """Bytes that its flows move."""
        return self.case.volume

    def prepared(self) -> tuple[Topology, tuple[str, ...]]:
        """Return what runs, and which expectations are not judged; errors as of ``prepared``."""
        topology, left = prepared(self.case, self.setting, self.wrong)
        return topology, (f"Strait's own, so not judged: {', '.join(left)}",) if left else ()

    def judged(self, result: CellResult) -> CellResult:
        """Turn the result of a wrong setting around: to miss just what it must is to pass."""
        return result if self.wrong is None else judge_broken(result, self.wrong)


def cells_of_cases(
    cases: Sequence[CaseFile],
    settings: Sequence[Setting],
    *,
    broken: bool = False,
    repeats: int | None = None,
) -> list[CaseCell]:
    """Return each case in each setting.

    Args:
        cases: the rows.
        settings: the columns.
        broken: with each wrong setting that they must notice instead; once shows that.
        repeats: of each; None: as its file says.

    Raises:
        TopologyError: a parameter that was given does not fit.
    """
    cells = [
        CaseCell(case, setting, wrong, repeats or (1 if broken else case.repeats))
        for case in cases
        for setting in settings
        for wrong in (case.case.breaks if broken else (None,))
    ]
    for cell in cells:  # What was given wrongly is for whoever gave it: before anything runs.
        with contextlib.suppress(NotSupportedError):
            cell.prepared()
    return cells


def find_cases(directory: Path = DIRECTORY, names: Sequence[str] = ()) -> list[CaseFile]:
    """Return the cases of a directory in the order of their names, or those that are named.

    Args:
        directory: holds a file for each case.
        names: of cases, or their letters; empty: all.

    Raises:
        UnknownNameError: there is no such case.
        CaseError: a file there is none, or two have one letter.
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
            raise UnknownNameError(f"there is no case {name!r}; {'; '.join(suggestion(name, known))}")
    return [known[name] for name in dict.fromkeys(names)] if names else found


def _read(path: Path) -> CaseFile:
    topology = load(path)
    if topology.case is None:
        raise CaseError(f"{path} is no case: add case: to it, or move it to another directory")
    name = path.name.removesuffix(SUFFIX)
    return CaseFile(
        name,
        path,
        topology.description,
        topology.case,
        volume_of(topology),
        topology.parameters,
        topology.repeats,
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
        NotSupportedError: it, or what the wrong setting must miss, is about Strait alone, and the setting
            has another transport.
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
    if broken is not None and _expected(broken).kind not in PORTABLE:
        raise NotSupportedError(
            f"with {told(broken)} it must miss {broken.misses!r}, which is Strait's own, so not judged for "
            f"{setting.transport}"
        )
    return dataclasses.replace(topology, expectations=kept), left


def judge_broken(result: CellResult, wrong: CaseBreak) -> CellResult:
    """Turn the result of a broken case around: to miss just what it must is to pass.

    What was not judged, since only captures tell it and there were none, says nothing of the case: it is
    unsupported then.
    """
    if result.outcome not in (Outcome.PASSED, Outcome.FAILED):
        return result
    wanted = _expected(wrong)
    about = [
        found
        for found in result.expectations
        if found.text == wanted.text and wanted.flow in (None, found.flow)
    ]
    if not about and EXPECTATION_KINDS[wanted.kind].from_captures:
        why = f"with {told(wrong)} it must miss {wrong.misses!r}, which is not judged without captures"
        return dataclasses.replace(result, outcome=Outcome.UNSUPPORTED, reasons=(why,))
    # What captures that could not be read do not tell is no miss.
    missed = [found for found in result.expectations if not found.passed and found.shown != NOT_CHECKED]
    if any(found in missed for found in about):
        note = f"{told(wrong)}: {wrong.misses} is missed, as it must"
        return dataclasses.replace(result, outcome=Outcome.PASSED, reasons=(), notes=(note,))
    what = ", ".join(found.text for found in missed) or "nothing"
    why = f"with {told(wrong)} it had to miss {wrong.misses!r}, and missed {what}"
    return dataclasses.replace(result, outcome=Outcome.FAILED, reasons=(why, *result.reasons))


def _expected(wrong: CaseBreak) -> Expectation:
    """Return the expectation that a wrong setting must miss; loading its file has found it there."""
    flow, colon, text = wrong.misses.rpartition(": ")
    return parse_expectation(text, flow if colon else None)


def told(wrong: CaseBreak) -> str:
    """Return a wrong setting in short."""
    return ", ".join(f"{name}={value}" for name, value in wrong.parameters.items())


def suite_json(table: Table[CaseCell]) -> dict[str, object]:
    """Return a table of cases as JSON-able data; docs/cases.md says what each key is."""
    results = table.results()
    by_setting: dict[Setting, Counter[Outcome]] = {}
    for cell, result in zip(table.cells, results, strict=True):
        by_setting.setdefault(cell.setting, Counter())[result.outcome] += 1
    return {
        "version": _VERSION,
        "verdict": table.verdict.value,
        "broken": any(cell.wrong is not None for cell in table.cells),
        "settings": [
            {"title": setting.title, **{outcome.value: counted[outcome] for outcome in Outcome}}
            for setting, counted in by_setting.items()
        ],
        "results": [_json(cell, result) for cell, result in zip(table.cells, results, strict=True)],
        "directory": str(table.directory),
    }


def _json(cell: CaseCell, result: CellResult) -> dict[str, object]:
    return {
        "case": cell.case.name,
        "letter": cell.case.case.letter,
        "backend": cell.setting.backend,
        "transport": cell.setting.transport,
        "parameters": dict(cell.setting.parameters),
        "breaks": None if cell.wrong is None else dict(cell.wrong.parameters),
        "outcome": result.outcome.value,
        "reasons": list(result.reasons),
        "notes": list(result.notes),
        "seconds": result.seconds,
        "impairment": result.impairment,
        "directory": next((turn.directory for turn in result.turns if turn.directory), None),
        "repeats": result.repeats,
        "expectations": [found.to_json() for found in result.expectations],
        "runs": [turn.to_json() for turn in result.turns],
    }
