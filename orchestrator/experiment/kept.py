"""A run's directory as others find it later: its plan, its captures, its keys."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from orchestrator.backends.base import Collected
from orchestrator.errors import TestbedError
from orchestrator.results import write_atomically
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.plan_file import plan_from_json

RUN_FILE = "run.json"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class KeptRun:
    """What ``run.json`` tells of a run."""

    directory: Path
    plan: DeploymentPlan
    #: The captures and key logs that the run left, as they were collected.
    collected: Collected


def keep_run(directory: Path, plan: DeploymentPlan, collected: Collected) -> None:
    """Write ``run.json``: all paths in it start from the run's directory, which may be moved.

    Raises:
        ResultsError: it cannot be written.
    """
    told = {
        "version": _VERSION,
        "plan": plan.to_json(),
        "captures": {
            link: [_below(path, directory) for path in paths] for link, paths in collected.captures.items()
        },
        "key_logs": [_below(path, directory) for path in collected.key_logs],
    }
    write_atomically(directory / RUN_FILE, json.dumps(told, indent=1) + "\n")


def find_run(directory: Path) -> KeptRun:
    """Return the run whose directory this is.

    Raises:
        TestbedError: it is none, or one of another version; the message says what to do.
    """
    path = directory / RUN_FILE
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["version"] != _VERSION:
            raise TestbedError(f"{path}: version {told['version']}, this narrows reads version {_VERSION}")
        captures = {link: [directory / name for name in names] for link, names in told["captures"].items()}
        key_logs = [directory / name for name in told["key_logs"]]
        plan = plan_from_json(told["plan"])
    except OSError as error:
        advice = "give the directory of a run, as results/demo-1a2b3c4d"
        raise TestbedError(f"{path}: {error.strerror}; {advice}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"{type(error).__name__}: {error}"
        raise TestbedError(f"{path}: not what narrows run writes ({problem}); run it again") from error
    except TestbedError as error:
        raise TestbedError(f"{path}: {error}") from error
    return KeptRun(directory, plan, Collected(captures=captures, key_logs=key_logs))


def _below(path: Path, directory: Path) -> str:
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else str(path.resolve())
