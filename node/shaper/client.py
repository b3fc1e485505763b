"""The orchestrator's side of a shaper's control socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from node.links.settings import Impairments

#: A shaper answers between two packets; this long without an answer is a dead one.
ANSWER_TIMEOUT_SECONDS = 5.0
#: Python starts in 0.1 s, and in a second or two where a hundred start at once on two cores.
READY_TIMEOUT_SECONDS = 20.0
_POLL_SECONDS = 0.01


class ShaperControlError(Exception):
    """The shaper refused a command, or does not answer."""


@dataclass(frozen=True, slots=True)
class ShaperReport:
    """What a shaper has done."""

    #: By direction, by name: the fields of LinkCounters, and oversized, unchecksummed, unsendable, refused.
    counters: Mapping[str, Mapping[str, int]]
    #: By direction, as the models have them.
    impairments: Mapping[str, Impairments]
    #: What the user must know.
    warnings: tuple[str, ...]


class LineClient:
    """One conversation with a process of node.shaper; blocking, every call at most ANSWER_TIMEOUT_SECONDS.

    Args:
        path: the control socket of its configuration.

    Raises:
        ShaperControlError: nobody listens there.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_TIMEOUT_SECONDS)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise ShaperControlError(f"no shaper listens at {path}: {error.strerror}") from error
        self._lines = self._socket.makefile("rb")

    @classmethod
    def wait(
        cls,
        path: str,
        *,
        timeout_seconds: float = READY_TIMEOUT_SECONDS,
        ended: Callable[[], bool] = lambda: False,
    ) -> Self:
        """Connect as soon as the process at ``path`` is ready (a shaper then already carries packets).

        Args:
            path: the control socket of its configuration.
            timeout_seconds: how long it may take.
            ended: whether the process has ended: it will never be ready then, and who waits must hear of it.

        Raises:
            ShaperControlError: it was not within ``timeout_seconds``, or it has ended.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                return cls(path)
            except ShaperControlError:
                if ended() or time.monotonic() >= deadline:
                    raise
            time.sleep(_POLL_SECONDS)

    def begin(self) -> None:
        """Let the run start: packets are numbered from one again, and traces begin anew.

        Raises:
            ShaperControlError: nobody answers.
        """
        self.ask({"command": "begin"})

    def stop(self) -> None:
        """Let the shaper end in good order.

        Raises:
            ShaperControlError: nobody answers.
        """
        self.ask({"command": "stop"})

    def close(self) -> None:
        """End the conversation; the shaper goes on."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Any: an answer is JSON, of a program of the same version as ours.
    def ask(self, command: Mapping[str, object]) -> dict[str, Any]:
        """Send a command and return its answer (ShaperControlError: it was refused, or there is none)."""
        try:
            self._socket.sendall(json.dumps(command).encode() + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise ShaperControlError(f"the shaper at {self._path} does not answer: {error}") from error
        if not line:
            raise ShaperControlError(f"the shaper at {self._path} has ended")
        answer: dict[str, Any] = json.loads(line)
        if not answer["ok"]:
            raise ShaperControlError(str(answer["error"]))
        return answer


class ShaperClient(LineClient):
    """A conversation with a running shaper."""

    def set(self, direction: str, impairments: Impairments) -> Impairments:
        """Replace the whole set of a direction (``forward``, ``reverse``, ``inbound``); return it read back.

        Raises:
            ShaperControlError: it was refused, or nobody answers.
        """
        answer = self.ask({"command": "set", "direction": direction, "impairments": impairments.to_mapping()})
        return Impairments.parse(answer["impairments"])

    def counters(self) -> ShaperReport:
        """Return what the shaper has done so far.

        Raises:
            ShaperControlError: nobody answers.
        """
        answer = self.ask({"command": "counters"})
        return ShaperReport(
            counters=answer["counters"],
            impairments={name: Impairments.parse(found) for name, found in answer["impairments"].items()},
            warnings=tuple(answer["warnings"]),
        )
