"""The node image: built from the sources where it is missing or older than they are."""

from __future__ import annotations

import docker
from docker.errors import ImageNotFound

from orchestrator.backends.base import Problem
from orchestrator.containers.engine import connected
from orchestrator.errors import EnvironmentMissingError
from orchestrator.images import BASE_IMAGE, NODE_IMAGE, SOURCE_LABEL, node_source_digest, source_directory


def image_problems() -> list[Problem]:
    """Return what is missing for the node image: an engine, or what the image is made from."""
    try:
        with connected() as engine:
            if _why_to_build(engine) and not _has(engine, BASE_IMAGE):
                return [_no_base_image()]
    except EnvironmentMissingError as error:
        return [Problem(str(error), "install Docker and start it: https://docs.docker.com/engine/")]
    return []


def ensure_image() -> str:
    """Return the id of the node image, built if there is none or its sources have changed since.

    Raises:
        EnvironmentMissingError: no engine answers, or there are no sources to build from.
        BackendError: it cannot be built.
    """
    with connected() as engine:
        if _why_to_build(engine):
            if not _has(engine, BASE_IMAGE):
                engine.images.pull(BASE_IMAGE)
            directory = source_directory()
            labels = {SOURCE_LABEL: node_source_digest(directory)}
            engine.images.build(path=str(directory), target="node", tag=NODE_IMAGE, labels=labels, rm=True)
        return str(engine.images.get(NODE_IMAGE).id)


def _why_to_build(engine: docker.DockerClient) -> str:
    """Return why the node image must be built, empty if it is good as it is."""
    try:
        image = engine.images.get(NODE_IMAGE)
    except ImageNotFound:
        return "there is none"
    try:
        wanted = node_source_digest(source_directory())
    except EnvironmentMissingError:
        return ""  # an installed package has no sources to compare with
    return "" if image.labels.get(SOURCE_LABEL) == wanted else "its sources have changed"


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
