"""The control socket of a shaper: one JSON object a line, one answer a line.

``{"command": "set", "direction": "forward", "impairments": {"delay": "20ms"}}`` is answered with
``{"ok": true, "impairments": {…}}``: the set as the model now has it. ``{"command": "counters"}`` gives
``{"ok": true, "counters": {direction: {name: number}}, "impairments": {direction: {…}}, "warnings": […]}``,
``{"command": "begin"}`` lets packets be numbered from one (the run starts), ``{"command": "stop"}`` ends the
shaper; both are answered with ``{"ok": true}``. Anything else gets ``{"ok": false, "error": "…"}``.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping
from typing import TypeAlias

from node.links.settings import Impairments, ImpairmentsError
from node.shaper.directions import Direction
from node.shaper.loop import Loop

#: Longer lines are no commands of ours: a long trace of mahimahi's in one.
MAX_LINE_BYTES = 16 * 1024 * 1024
#: Bytes read in one go.
_READ_BYTES = 64 * 1024
#: One orchestrator and one curious user; the rest is a leak.
MAX_CLIENTS = 16

Answer: TypeAlias = dict[str, object]


class ControlServer:
    """Answers commands about some directions.

    Args:
        path: where the Unix socket is made; an old one there is replaced.
        directions: what can be set and read.
    """

    def __init__(
        self,
        loop: Loop,
        path: str,
        directions: Mapping[str, Direction],
    ) -> None:
        self._loop = loop
        self._path = path
        self._directions = directions
        self._clients: dict[socket.socket, bytearray] = {}
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen()
        self._listener.setblocking(False)
        loop.on_readable(self._listener, self._accept)

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
                client.sendall(json.dumps(self._answer(line)).encode() + b"\n")
            except OSError:
                self._drop(client)
                return

    def _drop(self, client: socket.socket) -> None:
        self._loop.forget(client)
        self._clients.pop(client, None)
        client.close()

    def _answer(self, line: bytes) -> Answer:
        try:
            command = json.loads(line)
        except ValueError as error:
            return _refusal(f"not JSON: {error}")
        if not isinstance(command, dict):
            return _refusal("a command is a JSON object")
        match command.get("command"):
            case "set":
                return self._set(command)
            case "counters":
                return {
                    "ok": True,
                    "counters": {name: found.counters() for name, found in self._directions.items()},
                    "impairments": {
                        name: found.model.impairments.to_mapping() for name, found in self._directions.items()
                    },
                    "warnings": self._loop.warnings,
                }
            case "begin":
                for found in self._directions.values():
                    found.model.begin(now=time.monotonic_ns())
                    found.on_set()
                return {"ok": True}
            case "stop":
                self._loop.stop()
                return {"ok": True}
            case other:
                return _refusal(f"unknown command {other!r}: use set, counters, begin or stop")

    def _set(self, command: Mapping[str, object]) -> Answer:
        name, mapping = command.get("direction"), command.get("impairments")
        direction = self._directions.get(name) if isinstance(name, str) else None
        if direction is None:
            return _refusal(f"unknown direction {name!r}: use one of {', '.join(self._directions)}")
        if not isinstance(mapping, dict):
            return _refusal(f"impairments: found {mapping!r}, must be an object")
        try:
            impairments = Impairments.parse(mapping)
        except ImpairmentsError as error:
            return _refusal(str(error))
        direction.model.replace(impairments)
        direction.on_set()
        return {"ok": True, "impairments": direction.model.impairments.to_mapping()}


def _refusal(error: str) -> Answer:
    return {"ok": False, "error": error}
