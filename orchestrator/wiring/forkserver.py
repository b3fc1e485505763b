"""The orchestrator's side of a lab's fork server (``node.forkserver``): many processes for one import."""

from __future__ import annotations

import dataclasses
import json
import select
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.forkserver.child import Order
from orchestrator.errors import BackendError
from orchestrator.executor import Commands, Process
from orchestrator.wiring.journal import Journal
from orchestrator.wiring.processes import record_processes, spawn_for_run

#: What the processes of links import, and what agents do.
LINK_MODULES = ("node.capture.__main__", "node.shaper.__main__", "node.shaper.relay", "node.shaper.steps")
AGENT_MODULES = ("node.__main__", "node.agent.run", "node.agent.preload")

#: Seconds until it listens: it has imported next to nothing by then, but the machine may be busy.
_LISTENS_SECONDS = 60.0
#: Seconds for an answer: a thousand forks on two busy cores take ten.
_ANSWER_SECONDS = 300.0
_POLL_SECONDS = 0.005
_LOST = -9


@dataclass(frozen=True, slots=True)
class Wanted:
    """A process that is to run ``python -m MODULE ARGUMENTS`` in a node or a link.

    Args:
        what: what it is, for the journal.
        module: the package to run.
        arguments: its command line.
        namespace: path of the network namespace.
        log: file for its output.
        title: what ``ps -o comm`` shows.
        environment: added to the server's.
    """

    what: str
    module: str
    arguments: tuple[str, ...]
    namespace: Path
    log: Path
    title: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def order(self) -> Order:
        """Return it as the server takes it."""
        return Order(
            self.module,
            self.arguments,
            str(self.namespace),
            str(self.log.absolute()),
            dict(self.environment),
            self.title,
        )


class ForkServer:
    """A lab's fork server; all calls may come from any thread.

    Args:
        commands: starts it.
        journal: of the lab.
        path: its Unix socket.
        log: file for what it says itself.
        attached: whether it, and all that it forks, ends with the thread that calls ``start``.
        modules: what it imports before it forks.
    """

    def __init__(
        self,
        commands: Commands,
        journal: Journal,
        path: Path,
        *,
        log: Path,
        attached: bool,
        modules: Sequence[str],
    ) -> None:
        self._commands = commands
        self._journal = journal
        self._path = path
        self._log = log
        self._attached = attached
        self._modules = modules
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._left = False
        self.process: Process | None = None

    def start(self) -> None:
        """Start it; what it imports, it imports while the lab is made."""
        argv = [sys.executable, "-m", "node.forkserver", str(self._path)]
        for module in self._modules:
            argv += ["--preload", module]
        self.process = spawn_for_run(
            self._commands,
            self._journal,
            "fork server",
            [*argv, "--attached"] if self._attached else argv,
            namespace=None,
            log=self._log,
            environment={},
            attached=self._attached,
        )

    def spawn(self, wanted: Sequence[Wanted]) -> list[Process]:
        """Fork processes, all in one request; they are in the journal before and after.

        Raises:
            BackendError: the server has ended, or the machine has no room for them.
        """
        for directory in {found.log.parent for found in wanted}:
            directory.mkdir(parents=True, exist_ok=True)
        self._journal.record(*({"kind": "spawn", "what": found.what} for found in wanted))
        answer = self._ask({"spawn": [dataclasses.asdict(found.order()) for found in wanted]})
        started = [
            ForkedProcess(pid, (f"python -m {found.module}", *found.arguments), found.log, self)
            for pid, found in zip(answer["pids"], wanted, strict=True)
        ]
        record_processes(
            self._journal, {found.what: process for found, process in zip(wanted, started, strict=True)}
        )
        return list(started)

    def code_of(self, pid: int) -> int:
        """Return the exit status of a process that has ended; that of a kill if the server has ended too."""
        try:
            return int(self._ask({"code": pid})["code"])
        except BackendError:
            return _LOST

    def end(self) -> None:
        """Let it kill what it forked, reap it, and end; nothing happens if it is not there (any more)."""
        if self.process is None:
            return
        try:
            if self._connection is not None:
                self._ask({"end": True})
        except BackendError:
            pass  # it was killed: what it left is found by the journal
        self.leave()

    def leave(self) -> None:
        """Let go of it: it stays, with all that it forked."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        self._left = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        with self._lock:
            try:
                connection = self._connected()
                connection.sendall(json.dumps(request).encode() + b"\n")
                answer: dict[str, Any] = json.loads(_line(connection))
            except (OSError, ValueError) as error:
                # Its answer may come yet, and would be taken for that to the next request.
                self._drop()
                raise BackendError(
                    f"the fork server of the lab does not answer: {error}{self._said()}"
                ) from error
        if "error" in answer:
            raise BackendError(f"the fork server of the lab refuses: {answer['error']}{self._said()}")
        return answer

    def _connected(self) -> socket.socket:
        if self._connection is not None:
            return self._connection
        if self.process is None or self._left:
            raise OSError("it does not run")
        deadline = time.monotonic() + _LISTENS_SECONDS
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            while True:
                try:
                    opened.connect(str(self._path))
                    break
                except (FileNotFoundError, ConnectionRefusedError):
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        raise
                time.sleep(_POLL_SECONDS)
            opened.settimeout(_ANSWER_SECONDS)
        except BaseException:
            opened.close()
            raise
        self._connection = opened
        return opened

    def _said(self) -> str:
        said = self.process.tail() if self.process is not None else ""
        return f"\n{said}" if said else ""


class ForkedProcess(Process):
    """A process that the server forked: the server's child, not ours."""

    def __init__(self, pid: int, argv: tuple[str, ...], log: Path, server: ForkServer) -> None:
        super().__init__(pid, argv, log)
        self._server = server

    def _reap(self, descriptor: int) -> int | None:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return self._server.code_of(self.pid) if poll.poll(0) else None


def _line(connection: socket.socket) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        part = connection.recv(1 << 16)
        if not part:
            raise ConnectionResetError("it has ended")
        data += part
    return bytes(data)
