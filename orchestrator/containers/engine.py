"""The Docker engine of this machine: who reaches it, and what its refusals become."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import docker
from docker.errors import DockerException

from orchestrator.errors import BackendError, EnvironmentMissingError

#: Seconds for one call to the engine; starting twenty containers at once on two cores takes some.
ENGINE_TIME_LIMIT = 120


@contextmanager
def connected() -> Iterator[docker.DockerClient]:
    """Give a client of the engine; what the engine refuses becomes a BackendError.

    Raises:
        EnvironmentMissingError: no engine answers.
        BackendError: it refused something inside the block.
    """
    try:
        _knock()
        engine = docker.from_env(timeout=ENGINE_TIME_LIMIT)
    except (DockerException, OSError) as error:
        raise EnvironmentMissingError(f"no Docker engine answers: {error}") from error
    try:
        yield engine
    except (DockerException, OSError) as error:  # the SDK lets errors of the connection through: OSError
        raise BackendError(f"Docker: {error}") from error
    finally:
        engine.close()


def _knock() -> None:
    """Find out whether anybody listens at the engine's Unix socket (OSError: nobody does).

    The SDK leaves the socket of each failed try open until it is collected.
    """
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
            knocking.settimeout(ENGINE_TIME_LIMIT)
            knocking.connect(host.removeprefix("unix://"))
