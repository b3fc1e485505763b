"""What is left of labs whose makers have died, and results that are old.

A lab is known by its journal: what stands in none of this state directory's is somebody else's.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from node.protocol.time import SECOND, Duration
from orchestrator.errors import BackendError
from orchestrator.results import RESULT_FILE
from orchestrator.topology.labels import fits
from orchestrator.wiring import cleanup
from orchestrator.wiring.cleanup import LabSummary
from orchestrator.wiring.journal import run_directory, run_ids

_RUN = re.compile(r".+-([0-9a-f]{8})")
#: Files that a run, and nothing else, has: one of them is there from the start, or from the end.
_MARKS = (RESULT_FILE, "run.json", "captures", "logs")


def dead_labs(older_than: Duration, labels: Mapping[str, str], *, deployed: bool) -> list[LabSummary]:
    """Return the labs that nobody owns any more.

    Args:
        older_than: only those made so long ago, ns.
        labels: only those that have all of these.
        deployed: also those that were left up on purpose, and are.
    """
    now = time.time()
    return [
        lab
        for lab in cleanup.list_labs()
        if lab.owner is None
        and (deployed or not (lab.detached and lab.up))
        and fits(lab.labels, labels)
        and now - _made(lab) >= older_than / SECOND
    ]


def old_runs(results: Path, older_than: Duration) -> list[Path]:
    """Return the directories of runs below ``results`` that were written to last so long ago (ns)."""
    limit = time.time() - older_than / SECOND
    up = set(run_ids())
    found = []
    for path in sorted(results.iterdir()):
        name = _RUN.fullmatch(path.name)
        if name is None or name[1] in up or path.is_symlink() or not path.is_dir():
            continue
        if any((path / mark).exists() for mark in _MARKS) and _last_written(path) <= limit:
            found.append(path)
    return found


def _last_written(run: Path) -> float:
    """Return when a run wrote last, seconds of the wall clock.

    A result is the last thing written. Without one the run may still go on: then each of its files counts.
    """
    if (run / RESULT_FILE).exists():
        return max(path.stat().st_mtime for path in (run, run / RESULT_FILE))
    return max(path.lstat().st_mtime for path in (run, *run.rglob("*")))


def remove(labs: Sequence[LabSummary], runs: Sequence[Path]) -> list[LabSummary]:
    """Remove labs and runs; return the labs that were (an owner may have come up since).

    Raises:
        BackendError: something cannot be removed; the rest has been.
    """
    removed = cleanup.destroy_these(labs).removed
    problems = []
    for run in runs:
        try:
            shutil.rmtree(run)
        except OSError as error:
            problems.append(f"{run}: {error.strerror}")
    if problems:
        raise BackendError("\n".join(problems))
    return list(removed)


def _made(lab: LabSummary) -> float:
    if lab.made:
        return lab.made
    try:
        return run_directory(lab.run_id).stat().st_mtime
    except OSError:
        return 0.0
