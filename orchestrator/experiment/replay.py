"""Replay: a run's plan in the simulator, where each packet meets what the recorded link did.

The n-th packet that enters a direction of a link has the fate of the n-th one there when it was recorded: it
is lost, delayed, damaged, marked or delivered twice alike. Beyond what was recorded the link does what the
plan says. So a sender that does the same sees the same, as often as it is run: what failed once on a real
kernel can be looked at.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.links.fates import Fates
from orchestrator.backends.simulation import SimulationBackend
from orchestrator.errors import TestbedError
from orchestrator.experiment.fate_file import FateError, fates_of, fates_to_text
from orchestrator.experiment.kept import find_run
from orchestrator.experiment.progress import Observer, ignore
from orchestrator.experiment.runner import run_plan
from orchestrator.probes.wire.fates import Fate, record
from orchestrator.results import RunResult, write_atomically
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.plan_file import plan_from_json

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Recording:
    """A plan, and what its links did to each packet, by the end that sends."""

    plan: DeploymentPlan
    fates: Mapping[LinkEndpoint, Sequence[Fate]]

    @classmethod
    def of_run(cls, directory: Path) -> Recording:
        """Record from the captures of a run.

        Raises:
            TestbedError: the directory is no run's, or its captures do not hold enough.
        """
        run = find_run(directory)
        found = record(run.plan, run.collected)
        return cls(run.plan, {end: one.fates for end, one in found.items()})

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Read what ``write`` wrote.

        Raises:
            TestbedError: the file is none of that, or of another version.
        """
        text = ""
        try:
            text = path.read_text(encoding="utf-8")
            told = json.loads(text)
            if told["version"] != _VERSION:
                raise TestbedError(f"{path}: version {told['version']}, this narrows reads {_VERSION}")
            plan = plan_from_json(told["plan"])
            ends = {str(end): end for link in plan.links for end in (link.a, link.b)}
            fates = {ends[name]: fates_of(name, given) for name, given in told["fates"].items()}
            if len(fates) != len(ends):
                raise ValueError("some links of its plan have no fates")
        except FateError as error:
            raise TestbedError(f"{path}:{error.line(text)}: {error}") from error
        except OSError as error:
            raise TestbedError(f"{path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = (
                "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"{type(error).__name__}: {error}"
            )
            raise TestbedError(f"{path}: not a recording ({problem}); write one with --save") from error
        return cls(plan, fates)

    def write(self, path: Path) -> None:
        """Write all of it into one file.

        Raises:
            ResultsError: it cannot be written.
        """
        told = {
            "version": _VERSION,
            "plan": self.plan.to_json(),
        }
        # A line for each packet, so that what is wrong with one has a line.
        ways = ",\n".join(
            f"{json.dumps(str(end))}:{fates_to_text(found)}" for end, found in self.fates.items()
        )
        text = json.dumps(told, separators=(",", ":"))
        write_atomically(path, f'{text[:-1]},\n"fates":{{\n{ways}}}}}\n')

    def to_fates(self) -> dict[LinkEndpoint, Fates]:
        """Return what the link model takes."""
        return {end: _lookup(fates) for end, fates in self.fates.items()}


async def replay(
    recording: Recording,
    *,
    directory: Path,
    seed: int | None = None,
    capture: bool = True,
    qlog: bool = False,
    on_progress: Observer = ignore,
) -> RunResult:
    """Run a recording in the simulator.

    Args:
        directory: the results directory.
        seed: for the nodes' own chance, which no capture shows; None: the plan's.
        capture, qlog, on_progress: as of ``runner.run``.

    Raises:
        TestbedError: as ``runner.run``.
    """
    plan = dataclasses.replace(recording.plan, qlog=qlog)
    if seed is not None:
        plan = dataclasses.replace(plan, seed=seed)
    backend = SimulationBackend(fates=recording.to_fates())
    result = await run_plan(plan, backend, directory=directory, capture=capture, on_progress=on_progress)
    return dataclasses.replace(result, notes=(*result.notes, *_compared(recording, result)))


def _compared(recording: Recording, result: RunResult) -> list[str]:
    """Say where the replay sent more or fewer packets than were recorded: there it went its own way."""
    said = []
    for link in result.links:
        sent = link.frames_in
        recorded = len(next(fates for end, fates in recording.fates.items() if str(end) == link.sender))
        if sent > recorded:
            said.append(f"{link.sender}: {sent} packets, {recorded} recorded: the rest met the plan's link")
        elif sent < recorded:
            said.append(f"{link.sender}: {sent} packets, {recorded} recorded")
    return said


def _lookup(fates: Sequence[Fate]) -> Fates:
    known = len(fates)
    return lambda number: fates[number - 1] if number <= known else None
