"""What a run was made of: ids, versions, kernel, and a digest of the plan."""

from __future__ import annotations

import hashlib
import json
import platform
import secrets
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from node import __version__
from orchestrator.backends.base import Impairment
from orchestrator.results import RunManifest
from orchestrator.topology.plan import DeploymentPlan

#: Packages whose version can change what a run does or sees.
_PACKAGES = ("cryptography", "numpy", "scapy")


def new_run_id() -> str:
    """Return eight lower-case hex digits that no other run has, as good as surely."""
    return secrets.token_hex(4)


def plan_digest(plan: DeploymentPlan) -> str:
    """Return the SHA-256 of the plan as canonical JSON, in hex."""
    text = json.dumps(plan.to_json(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def started_at() -> str:
    """Return the time of day as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def make_manifest(
    plan: DeploymentPlan, *, run_id: str, backend: str, impairment: Impairment, started: str
) -> RunManifest:
    """Return the manifest of a run on this machine."""
    machine = platform.uname()
    return RunManifest(
        run_id=run_id,
        lab=plan.name,
        backend=backend,
        impairment=impairment.value,
        seed=plan.seed,
        plan_digest=plan_digest(plan),
        started_at=started,
        kernel=f"{machine.system} {machine.release} {machine.machine}",
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    found = {"narrows": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # an extra that is not installed here
    return found
