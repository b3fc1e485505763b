"""Frames put on a link as if a node had sent them, past its stack and through the link's impairments."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from pathlib import Path

from orchestrator.errors import BackendError
from orchestrator.topology.model import LinkEndpoint
from orchestrator.wiring.namespaces import inside


class Injector:
    """Raw sockets at endpoints, opened at first use; ``close`` it."""

    def __init__(self) -> None:
        self._sockets: dict[LinkEndpoint, socket.socket] = {}

    async def send(self, endpoint: LinkEndpoint, namespace: Path, frame: bytes) -> None:
        """Send an Ethernet frame out of a node's interface.

        Args:
            namespace: path of the node's network namespace.

        Raises:
            BackendError: the interface is not there, or the frame does not fit.
        """
        try:
            if endpoint not in self._sockets:
                self._sockets[endpoint] = _open(endpoint, namespace)
            await asyncio.get_running_loop().sock_sendall(self._sockets[endpoint], frame)
        except OSError as error:
            raise BackendError(
                f"{len(frame)} bytes cannot be sent from {endpoint}: {error.strerror}"
            ) from error

    def close(self) -> None:
        """Close the sockets; may be called twice."""
        while self._sockets:
            self._sockets.popitem()[1].close()


def _open(endpoint: LinkEndpoint, namespace: Path) -> socket.socket:
    # A socket belongs to the namespace of the thread that made it, whoever uses it.
    make = partial(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened = inside({namespace: make})[namespace]
    try:
        opened.bind((endpoint.interface, 0))
    except OSError:
        opened.close()
        raise
    opened.setblocking(False)
    return opened
