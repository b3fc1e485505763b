"""Files that flows send and that arrive, below the run's directory: the same places on every back end."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

from orchestrator.results import ResultsError
from orchestrator.topology.model import WorkloadSpec
from orchestrator.topology.plan import DeploymentPlan

#: Below the run's directory: what flows send; and, somewhere below it, what arrived of each.
FILES, RECEIVED = "files", "received"


def stage_files(plan: DeploymentPlan, directory: Path) -> DeploymentPlan:
    """Put the files that flows send below ``directory``, where agents may read, and return the plan so.

    Agents send nothing from elsewhere: a control connection must not read a machine's files.

    Raises:
        ResultsError: a file cannot be put there, as on a full disk.
    """
    workloads = tuple(_stage(flow, directory / FILES) for flow in plan.workloads)
    return dataclasses.replace(plan, workloads=workloads)


def _stage(flow: WorkloadSpec, files: Path) -> WorkloadSpec:
    name = flow.options.get("file")
    if not isinstance(name, str):
        return flow
    source = Path(name)
    staged = f"{flow.name}/{source.name}"
    try:
        (files / flow.name).mkdir(parents=True, exist_ok=True)
        _link_or_copy(source, files / staged)
    except OSError as error:
        raise ResultsError(f"cannot put {source} below {files}: {error.strerror}") from error
    return dataclasses.replace(flow, options={**flow.options, "file": staged})


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without links.
        shutil.copyfile(source, target)


def received_file(directory: Path, flow: str) -> Path | None:
    """Return the file that a target kept of a flow; None: it kept none."""
    found = (path for path in sorted(directory.rglob(flow)) if RECEIVED in path.relative_to(directory).parts)
    return next((path for path in found if path.is_file()), None)
