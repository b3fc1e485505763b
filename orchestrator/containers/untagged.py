"""Images of ours whose names went to newer ones: each rebuild leaves one, of 200 MB and more."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus

import docker
from docker.errors import APIError, ImageNotFound

from orchestrator.containers.engine import connected
from orchestrator.errors import EnvironmentMissingError
from orchestrator.images import SOURCE_LABEL, STAGE_LABEL


def untagged(made_before: float | None = None) -> list[str]:
    """Return the ids of our images without a name that no container uses; none where no engine answers.

    Args:
        made_before: seconds of the wall clock; only those that are older.

    Raises:
        BackendError: the engine refuses to tell.
    """
    try:
        with connected() as engine:
            used = {container.attrs["ImageID"] for container in engine.containers.list(all=True, sparse=True)}
            # Not images.list(), which asks for each again: one may be gone by then.
            made = {
                str(image["Id"]): image["Created"]
                for label in (SOURCE_LABEL, STAGE_LABEL)
                for image in engine.api.images(filters={"dangling": True, "label": label})
            }
    except EnvironmentMissingError:
        return []
    return [
        name for name, at in made.items() if name not in used and (made_before is None or at <= made_before)
    ]


def remove_untagged(names: list[str]) -> list[str]:
    """Remove images that ``untagged`` has found, and return those that were: one may be used since.

    Raises:
        BackendError: the engine refuses.
    """
    if not names:
        return []
    with connected() as engine:
        return [name for name in names if remove_if_unused(engine, name)]


def remove_if_unused(engine: docker.DockerClient, name: str) -> bool:
    """Remove an image of ours that has no name, unless it is used; return whether it was removed.

    Args:
        engine: of the image.
        name: its id.

    Raises:
        DockerException: the engine refuses for another reason.
    """
    with suppress(ImageNotFound):  # somebody else has removed it
        image = engine.images.get(name)
        if image.tags or image.attrs["RepoDigests"] or not {SOURCE_LABEL, STAGE_LABEL} & image.labels.keys():
            return False
        try:
            # Not by force: the engine knows who uses it, a container that has ended as well.
            engine.images.remove(name)
        except APIError as error:
            if error.status_code == HTTPStatus.CONFLICT:
                return False
            raise
        return True
    return False
