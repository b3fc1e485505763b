"""The node images: built from the sources where one is missing or older than they are."""

from __future__ import annotations

from pathlib import Path

import docker
from docker.errors import BuildError, ImageNotFound

from orchestrator.backends.base import Problem
from orchestrator.containers.engine import connected
from orchestrator.containers.equipment import image_of
from orchestrator.containers.untagged import remove_if_unused
from orchestrator.errors import BackendError, EnvironmentMissingError
from orchestrator.images import (
    BASE_IMAGE,
    NODE_IMAGE,
    NODE_STAGES,
    SOURCE_LABEL,
    node_source_digest,
    source_directory,
)
from orchestrator.topology.plan import DeploymentPlan

#: How many of a failed build's last lines are shown: pip's reason is among them.
_LINES_OF_A_FAILURE = 8


def image_problems() -> list[Problem]:
    """Return what is missing for the node images: an engine, or what they are made from."""
    try:
        with connected() as engine:
            if _must_be_built(engine, NODE_IMAGE) and not _has(engine, BASE_IMAGE):
                return [_no_base_image()]
    except EnvironmentMissingError as error:
        return [Problem(str(error), "install Docker and start it: https://docs.docker.com/engine/")]
    return []


def ensure_image(plan: DeploymentPlan) -> str:
    """Return the id of the node image that a plan's flows need, built if it is missing or stale.

    Raises:
        EnvironmentMissingError: no engine answers, or there are no sources to build from.
        BackendError: it cannot be built.
    """
    name = image_of(plan)
    with connected() as engine:
        if _must_be_built(engine, name):
            if not _has(engine, BASE_IMAGE):
                engine.images.pull(BASE_IMAGE)
            directory = source_directory()
            return build(engine, directory, name, labels={SOURCE_LABEL: node_source_digest(directory)})
        return str(engine.images.get(name).id)


def build(engine: docker.DockerClient, directory: Path, name: str, *, labels: dict[str, str]) -> str:
    """Build a node image from the Dockerfile of a directory, and return its id.

    The image that had the name until then is removed, if it is ours and not used.

    Raises:
        BackendError: a step of it fails, as without a network; it says what the step said, and what to do.
        DockerException: the engine refuses.
    """
    before = engine.images.get(name).id if _has(engine, name) else None
    try:
        # forcerm: of a step that fails, the container would be left.
        image, _ = engine.images.build(
            path=str(directory), target=NODE_STAGES[name], tag=name, labels=labels, rm=True, forcerm=True
        )
    except BuildError as error:
        said = "".join(line.get("stream", "") for line in error.build_log).strip().splitlines()
        shown = "\n".join(f"  {line}" for line in said[-_LINES_OF_A_FAILURE:])
        raise BackendError(
            f"the image {name} cannot be built in {directory}: {error.msg}\n{shown}\n"
            f"packages come from the network; without one, bring the image from a machine with this checkout "
            f"and a network: docker save {name} | ssh HERE docker load"
        ) from error
    if before is not None:
        remove_if_unused(engine, before)
    return str(image.id)


def _must_be_built(engine: docker.DockerClient, name: str) -> bool:
    """Return whether there is no such image, or its sources have changed since."""
    try:
        image = engine.images.get(name)
    except ImageNotFound:
        return True
    try:
        wanted = node_source_digest(source_directory())
    except EnvironmentMissingError:
        return False  # an installed package has no sources to compare with
    return bool(image.labels.get(SOURCE_LABEL) != wanted)


def _has(engine: docker.DockerClient, name: str) -> bool:
    try:
        engine.images.get(name)
    except ImageNotFound:
        return False
    return True


def _no_base_image() -> Problem:
    return Problem(
        f"the image {NODE_IMAGE} must be built, and its base {BASE_IMAGE} is not on this machine",
        f"docker pull {BASE_IMAGE}; without a registry: tests/lanes/scripts/base-images.sh {BASE_IMAGE}",
    )
