"""What the container images are made of: their names, where their source lies, when one is stale."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import orchestrator
from orchestrator.errors import EnvironmentMissingError

NODE_IMAGE = "narrows-node"
#: The node image with aioquic: made where a flow asks for QUIC.
NODE_QUIC_IMAGE = "narrows-node-quic"
ORCHESTRATOR_IMAGE = "narrows-orchestrator"
#: Stages of the Dockerfile that node images are made of.
NODE_STAGES = {NODE_IMAGE: "node", NODE_QUIC_IMAGE: "node-quic"}
#: What the Dockerfile starts from.
BASE_IMAGE = "python:3.13-slim"
#: Label of an image: the digest of the sources it was made of.
SOURCE_LABEL = "narrows.source"
#: Label that the Dockerfile gives to images, whoever builds them: the stage that one was made of.
STAGE_LABEL = "narrows.stage"
#: Labels of everything that the docker back end makes.
LAB_LABEL = "narrows.lab"
RUN_LABEL = "narrows.run"
NODE_LABEL = "narrows.node"
#: Label of a container: which of the node images it runs; the engine knows only a digest of it.
IMAGE_LABEL = "narrows.image"


def source_directory() -> Path:
    """Return the checkout that holds the Dockerfile.

    Raises:
        EnvironmentMissingError: Narrows runs from an installed package, without its sources.
    """
    directory = Path(orchestrator.__file__).resolve().parent.parent
    if not (directory / "Dockerfile").is_file():
        raise EnvironmentMissingError(
            f"no Dockerfile in {directory}: images are built from a checkout; "
            f"run narrows from one, or build the image {NODE_IMAGE} there first"
        )
    return directory


def node_source_digest(directory: Path) -> str:
    """Return 16 hex digits that change whenever a file that goes into the node image does."""
    digest = hashlib.sha256()
    for path in _node_sources(directory):
        digest.update(str(path.relative_to(directory)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _node_sources(directory: Path) -> Iterator[Path]:
    yield directory / "Dockerfile"
    yield from sorted((directory / ".ci" / "requirements").glob("*.txt"))
    for path in sorted((directory / "node").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path
