"""A Unix socket that is asked one JSON object a line, and answers each with one.

An answer has ``"ok": true``, or ``"ok": false`` and ``"error"``.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TypeAlias

from node.shaper.loop import Loop

#: Longer lines are no commands of ours: a long trace in one.
MAX_LINE_BYTES = 16 * 1024 * 1024
#: Bytes read in one go.
_READ_BYTES = 64 * 1024
#: One orchestrator and one curious user; the rest is a leak.
MAX_CLIENTS = 16

Answer: TypeAlias = dict[str, object]


class LineServer(ABC):
    """Listens, reads commands and sends what ``answer`` says.

    Args:
        loop: waits for the clients.
        path: where the Unix socket is made; an old one there is replaced.
    """

    def __init__(self, loop: Loop, path: str) -> None:
        self._loop = loop
        self._path = path
        self._clients: dict[socket.socket, bytearray] = {}
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen()
        self._listener.setblocking(False)
        loop.on_readable(self._listener, self._accept)

    @abstractmethod
    def answer(self, command: Mapping[str, object]) -> Answer:
        """Do what a command says."""

    def close(self) -> None:
        """End all conversations and remove the socket."""
        for client in list(self._clients):
            self._drop(client)
        self._loop.forget(self._listener)
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        if len(self._clients) >= MAX_CLIENTS:
            client.close()
            return
        # Answers are small; who does not read them waits for a second at most, then is dropped.
        client.settimeout(1.0)
        self._clients[client] = bytearray()
        self._loop.on_readable(client, lambda: self._read(client))

    def _read(self, client: socket.socket) -> None:
        pending = self._clients[client]
        try:
            data = client.recv(_READ_BYTES)
        except OSError:
            data = b""
        pending += data
        if not data or len(pending) > MAX_LINE_BYTES:
            self._drop(client)
            return
        while (end := pending.find(b"\n")) >= 0:
            line = bytes(pending[:end])
            del pending[: end + 1]
            try:
                client.sendall(json.dumps(self._answer_line(line)).encode() + b"\n")
            except OSError:
                self._drop(client)
                return

    def _drop(self, client: socket.socket) -> None:
        self._loop.forget(client)
        self._clients.pop(client, None)
        client.close()

    def _answer_line(self, line: bytes) -> Answer:
        try:
            command = json.loads(line)
        except ValueError as error:
            return refusal(f"not JSON: {error}")
        return self.answer(command) if isinstance(command, dict) else refusal("a command is a JSON object")


def refusal(error: str) -> Answer:
    """Return the answer to what cannot be done."""
    return {"ok": False, "error": error}
