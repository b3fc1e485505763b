"""Labs that outlive the command that made them: `narrows deploy`, and `narrows run --keep`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from orchestrator.backends.base import Backend, Deployment
from orchestrator.errors import BackendError, NotSupportedError
from orchestrator.experiment.manifest import new_run_id
from orchestrator.experiment.selection import AUTO, select_backend
from orchestrator.results import make_run_directory
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.wiring import cleanup
from orchestrator.wiring.cleanup import LabSummary


@runtime_checkable
class Leavable(Protocol):
    """A deployment that can be left up."""

    async def leave(self) -> None:
        """Let go of the lab: it stays up, for other commands to change and to destroy."""
        ...


def can_last(backend: Backend) -> bool:
    """Return whether a back end's labs can outlive the process that made them."""
    return "detached" in inspect.signature(backend.deploy).parameters


def check_can_last(backend: Backend) -> None:
    """Raise NotSupportedError unless the back end's labs can be left up."""
    if not can_last(backend):
        raise NotSupportedError(
            f"labs of back end {backend.name} end with the command that made them: take --backend netns"
        )


async def deploy_lasting(
    backend: Backend, plan: DeploymentPlan, *, run_id: str, directory: Path, capture: bool
) -> Deployment:
    """Deploy a plan so that ``leave`` can let go of it.

    Raises:
        NotSupportedError: this back end's labs end with their maker.
        BackendError: it cannot be made.
    """
    check_can_last(backend)
    # Any: `detached` is a promise of some back ends only, so it is not in their common interface.
    lasting: Any = backend
    deployment: Deployment = await lasting.deploy(
        plan, run_id=run_id, directory=directory, capture=capture, detached=True
    )
    return deployment


async def leave(deployment: Deployment) -> None:
    """Let go of a lab deployed by ``deploy_lasting``."""
    assert isinstance(deployment, Leavable), "a lab that was deployed to last can be left"
    await deployment.leave()


def lab_to_change(plan: DeploymentPlan, backend_name: str, run_id: str | None) -> LabSummary | None:
    """Return the lab of this name that is up, is nobody's, and is of this back end; None: there is none.

    Args:
        plan: what it is to be.
        backend_name: a registered back end, or ``auto``.
        run_id: which one; None: the only one there is.

    Raises:
        BackendError: there are several, or the one named is not there.
    """
    wanted = "netns" if backend_name == AUTO else backend_name
    labs = [
        lab
        for lab in cleanup.find(plan.name)
        if lab.detached and lab.owner is None and (backend_name == AUTO or lab.backend == wanted)
    ]
    if run_id is not None:
        labs = [lab for lab in labs if lab.run_id == run_id]
        if not labs:
            raise BackendError(
                f"no lab {plan.name} with run id {run_id} is up that deploy or run --keep left; "
                "narrows inspect lists those that are up"
            )
    if len(labs) > 1:
        listing = ", ".join(lab.run_id for lab in labs)
        raise BackendError(
            f"{len(labs)} labs called {plan.name} are up ({listing}): "
            "change one with --lab RUN_ID, or make another with --new"
        )
    return labs[0] if labs else None


async def deploy_and_leave(
    plan: DeploymentPlan, backend_name: str, *, directory: Path, capture: bool
) -> tuple[str, Backend, Deployment]:
    """Make a lab, leave it up, and return its run id.

    Raises:
        NotSupportedError: this back end's labs end with their maker.
        EnvironmentMissingError: this machine lacks what the back end needs.
        BackendError: it cannot be made.
    """
    # A simulation has nothing that could stay, so auto never means it here.
    backend = select_backend("netns" if backend_name == AUTO else backend_name, plan)
    check_can_last(backend)
    run_id = new_run_id()
    place = make_run_directory(directory, plan.name, run_id)
    deployment = await deploy_lasting(backend, plan, run_id=run_id, directory=place, capture=capture)
    await leave(deployment)
    return run_id, backend, deployment
