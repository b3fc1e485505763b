"""The server: requests on a Unix socket, each one line of JSON, answered in order.

``{"spawn": [order, …]}`` → ``{"pids": […]}``; ``{"code": pid}`` → ``{"code": exit status}``, once the process
has ended (negative: the signal that ended it); ``{"end": true}`` → ``{"ended": how many were killed}``.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from node.forkserver import child

#: A thousand orders are half a megabyte.
_READ_BYTES = 1 << 20


class ForkServerError(Exception):
    """It cannot serve; the message says why."""


class ForkServer:
    """Forks on demand, until it is told to end.

    Args:
        path: its Unix socket.
        attached: whether what it forked is killed when it ends, however it ends.
    """

    def __init__(self, path: Path, *, attached: bool) -> None:
        self._attached = attached
        #: Those that ran when we looked last; each is reaped when its exit status is asked for, so that no
        #: number can be another's before.
        self._children: set[int] = set()
        self._waiting: dict[socket.socket, bytearray] = {}
        self._ends = False
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.bind(str(path))
            self._listener.listen()
        except OSError as error:
            raise ForkServerError(f"{path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        self._listener.close()
        for connection in self._waiting:
            connection.close()

    def serve(self) -> None:
        """Answer requests until one says ``end``."""
        # What is there now stays for ever: not looked through again, its pages are shared by all forks.
        gc.collect()
        gc.freeze()
        self._selector.register(self._listener, selectors.EVENT_READ)
        while not self._ends:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    connection, _ = self._listener.accept()
                    self._waiting[connection] = bytearray()
                    self._selector.register(connection, selectors.EVENT_READ)
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._read(key.fileobj)

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(_READ_BYTES)
            waiting = self._waiting[connection]
            waiting += data
            while (end := waiting.find(b"\n")) >= 0:
                line = bytes(waiting[:end])
                del waiting[: end + 1]
                connection.sendall(json.dumps(self._answer(line)).encode() + b"\n")
        except OSError:
            data = b""
        if not data:
            # Whoever asked has left a lab that is to stay up, or was killed. The children go on if they are
            # not attached; with us gone, they are those of init, which reaps them.
            self._ends = True

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request: dict[str, Any] = json.loads(line)  # Any: it is looked at here, field by field
            if "spawn" in request:
                return {"pids": self._fork_all(child.orders(request["spawn"]))}
            if "code" in request:
                return {"code": self._code_of(int(request["code"]))}
            if "end" in request:
                self._ends = True
                return {"ended": self._end_children()}
        except (ValueError, TypeError, KeyError) as error:
            return {"error": f"not understood: {type(error).__name__}: {error}"}
        except OSError as error:
            return {"error": f"{error.strerror or error}: too many processes, or too little memory"}
        return {"error": "found none of spawn, code, end"}

    def _fork_all(self, orders: Iterable[child.Order]) -> list[int]:
        """Fork all or none: of a process that nobody was told of, nobody would keep a journal."""
        made: list[int] = []
        try:
            for order in orders:
                made.append(self._fork(order))  # noqa: PERF401 (what was made so far is needed below)
        except OSError:
            for pid in made:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                self._children.discard(pid)
            raise
        return made

    def _fork(self, order: child.Order) -> int:
        # A thread would be missing in the fork, with whatever lock it holds.
        if len(os.listdir("/proc/self/task")) != 1:
            raise ValueError("a module that was preloaded has started a thread")
        server = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            child.become(order, parent=server if self._attached else None)
        self._children.add(pid)
        return pid

    def _code_of(self, pid: int) -> int:
        if pid not in self._children:
            raise ValueError(f"process {pid} is none of ours")
        _, status = os.waitpid(pid, 0)
        self._children.discard(pid)
        return os.waitstatus_to_exitcode(status)

    def _end_children(self) -> int:
        """Kill what runs and wait for it: whoever asked finds none of them left, not even as zombies."""
        left = sorted(self._children)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        for pid in left:
            os.waitpid(pid, 0)
        self._children.clear()
        return len(left)
