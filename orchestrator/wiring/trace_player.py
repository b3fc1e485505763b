"""The player of a link's traces where the kernel impairs it: started when there is one, told what to play."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from node.links.settings import Impairments
from node.protocol.time import Duration, Instant
from node.shaper.client import LineClient, ShaperControlError
from orchestrator.errors import BackendError
from orchestrator.executor import Process
from orchestrator.tc import commands as tc
from orchestrator.tc import comparison
from orchestrator.wiring.state import LinkRecord

#: A hundred Python processes that start at once on two busy cores take some 20 seconds.
_READY_SECONDS = 60.0


class Halted(NamedTuple):
    """Where a trace was when it was halted."""

    #: When it began, ns of the monotonic clock.
    start: Instant
    #: Its rate in bit/s and its delay in ns.
    reached: tuple[int, Duration]


class TracePlayer:
    """Plays the traces of one link; all calls block, for milliseconds.

    Args:
        link: the link.
        spawn: starts the process that plays: what it is, argv, namespace.
    """

    def __init__(self, link: LinkRecord, spawn: Callable[[str, list[str], Path], Process]) -> None:
        self._link = link
        self._spawn = spawn
        self._path = Path(link.control).with_suffix(".steps")

    def halt(self, directions: Collection[str]) -> dict[str, Halted]:
        """Play no longer in some directions; return where they were.

        Raises:
            BackendError: the player does not answer.
        """
        found: dict[str, Halted] = {}
        for direction in directions if self._path.exists() else ():
            told = self._ask({"command": "halt", "direction": direction})
            if told["reached"]:
                found[direction] = Halted(told["start"], tuple(told["reached"]))
        return found

    def play(self, direction: str, device: str, asked: Impairments, halted: Halted | None) -> None:
        """Let the kernel follow the trace of what is set on a device.

        Args:
            direction: a name for it.
            device: whose egress it is.
            asked: the set, which has a trace.
            halted: where it was halted; None: it starts now.

        Raises:
            BackendError: the player cannot be started, or does not answer.
        """
        if not self._path.exists():
            self._start()
        self._ask(play_command(direction, device, asked, halted and halted.start))

    def begin(self) -> None:
        """Let all traces start anew (BackendError: the player does not answer)."""
        if self._path.exists():
            self._ask({"command": "begin"})

    def check(self, direction: str, asked: Impairments, got: Impairments) -> None:
        """Compare what the kernel has with what was played.

        Raises:
            BackendError: a step did not take, or the player has ended.
        """
        told = self._ask({"command": "state"})
        if told["error"]:
            raise BackendError(
                f"link {self._link.name}: its trace is not followed any more: tc: {told['error']}"
            )
        track = told["tracks"].get(direction)
        if track is None or (track["done"] and not comparison.at_end(asked, got)):
            have = {name: got.to_mapping().get(name, "none") for name in ("rate", "delay")}
            raise BackendError(
                f"link {self._link.name}, {direction}: its trace is over, and did not take: the kernel has "
                f"rate {have['rate']} and delay {have['delay']}"
            )

    # Any: an answer is JSON, of a program of the same version as ours.
    def _ask(self, command: Mapping[str, object]) -> dict[str, Any]:
        try:
            with LineClient(str(self._path)) as client:
                return client.ask(command)
        except ShaperControlError as error:
            raise BackendError(f"link {self._link.name}: the player of its trace: {error}") from error

    def _start(self) -> None:
        configuration = Path(self._link.control).with_suffix(".steps.json")
        configuration.write_text(json.dumps({"control": str(self._path)}), encoding="utf-8")
        argv = [sys.executable, "-m", "node.shaper", "steps", "--config", str(configuration)]
        process = self._spawn(f"trace player of {self._link.name}", argv, Path(self._link.namespace))
        try:
            LineClient.wait(
                str(self._path), timeout_seconds=_READY_SECONDS, ended=lambda: process.poll() is not None
            ).close()
        except ShaperControlError as error:
            raise BackendError(f"link {self._link.name}: {error}\n{process.tail()}") from error


def play_command(
    direction: str, device: str, asked: Impairments, start: Instant | None = None
) -> dict[str, object]:
    """Return what tells a player (``node.shaper.steps``) to play the trace of a set.

    Args:
        direction: a name for it.
        device: whose egress has the set.
        asked: the set.
        start: when the trace began; None: it begins now.
    """
    return {
        "command": "play",
        "direction": direction,
        "start": start,
        "first": [asked.rate, asked.delay],
        "rate": tc.rate_line(device, asked),
        "delay": tc.delay_line(device, asked),
        "steps": [[step.at, step.rate, step.delay] for step in asked.trace.steps],
    }
