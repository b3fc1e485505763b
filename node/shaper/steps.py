"""Plays traces into the kernel: tells one long-lived ``tc`` what rate and delay are from now on.

Its control socket takes, a JSON object a line::

    {"command": "play", "direction": "forward", "start": null, "first": [rate, delay],
     "rate": "class … rate {}bit", "delay": "qdisc … delay {}us", "steps": [[at, rate, delay], …]}

with times in ns from ``start`` (by the monotonic clock; null: now), and null for what a step leaves as it
was; ``halt`` with a direction, answered with its ``start`` and what it has ``reached`` (rate and delay; null:
nothing is played); ``begin``, with which all traces start anew; ``state`` and ``stop``.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from node.protocol.time import MICROSECOND, Instant
from node.shaper.configuration import ShaperError, StepsConfiguration
from node.shaper.lines import Answer, LineServer, refusal
from node.shaper.loop import Loop

#: tc says a line or two before it ends.
_SAID_BYTES = 4_096

#: When, ns after the start; rate in bit/s and delay in ns, None: as before.
_Step = tuple[int, int | None, int | None]


@dataclass(slots=True, eq=False)
class _Track:
    """The trace of one direction."""

    #: What tc is told, with a place for the number: bits per second, and µs.
    rate_line: str
    delay_line: str
    #: Rate and delay before the first step.
    first: tuple[int, int]
    steps: Sequence[_Step]
    start: Instant
    #: How often it was started anew: who waits for a step of an earlier time is to find out.
    started: int = 0
    next: int = 0
    #: How late a step was at most, ns.
    late: int = 0
    #: Rate and delay of the step that was last.
    reached: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.reached = self.first

    def begin(self, now: Instant) -> list[str]:
        """Start anew; return what to tell tc."""
        self.started += 1
        self.start, self.next, self.reached, self.late = now, 0, self.first, 0
        return self._lines(*self.first)

    def follow(self, now: Instant) -> list[str]:
        """Pass all steps that are due; return what to tell tc for where that ends."""
        rate: int | None = None
        delay: int | None = None
        while self.next < len(self.steps) and self.start + self.steps[self.next][0] <= now:
            at, to_rate, to_delay = self.steps[self.next]
            rate, delay = to_rate or rate, delay if to_delay is None else to_delay
            self.late = max(self.late, now - self.start - at)
            self.next += 1
        self.reached = (rate or self.reached[0], self.reached[1] if delay is None else delay)
        return self._lines(rate, delay)

    @property
    def due(self) -> Instant | None:
        """When the next step is; None: there is none."""
        return self.start + self.steps[self.next][0] if self.next < len(self.steps) else None

    def _lines(self, rate: int | None, delay: int | None) -> list[str]:
        lines = [self.rate_line.replace("{}", str(rate))] if rate else []
        if delay is not None:
            lines.append(self.delay_line.replace("{}", str((delay + MICROSECOND // 2) // MICROSECOND)))
        return lines


def run_steps(configuration: StepsConfiguration, on_ready: Callable[[], None]) -> None:
    """Play what comes over the control socket until SIGTERM or a ``stop`` command.

    Raises:
        ShaperError: there is no tc.
    """
    with Loop() as loop:
        player = StepsPlayer(loop, configuration.control)
        try:
            on_ready()
            loop.run()
        finally:
            player.close()


@dataclass(slots=True)
class _Tc:
    """The ``tc -batch`` that is told; it ends at the first line that it cannot do."""

    process: subprocess.Popen[bytes]
    said: bytearray = field(default_factory=bytearray)


class StepsPlayer(LineServer):
    """Plays the traces of the directions of a link.

    Args:
        loop: wakes us for the steps.
        path: of the control socket.

    Raises:
        ShaperError: there is no tc.
    """

    def __init__(self, loop: Loop, path: str) -> None:
        try:
            process = subprocess.Popen(
                ["tc", "-batch", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            raise ShaperError(f"tc cannot be run: {error.strerror}; install iproute2") from error
        self._tc = _Tc(process)
        self._tracks: dict[str, _Track] = {}
        assert process.stderr is not None
        loop.on_readable(process.stderr, self._hear)
        super().__init__(loop, path)

    def close(self) -> None:
        """End tc too."""
        super().close()
        assert self._tc.process.stdin is not None
        self._tc.process.stdin.close()
        self._tc.process.wait()

    def answer(self, command: Mapping[str, object]) -> Answer:
        """Do what a command says."""
        match command.get("command"):
            case "play":
                return self._play(command)
            case "halt":
                return self._halt(str(command.get("direction")))
            case "begin":
                now = time.monotonic_ns()
                for track in self._tracks.values():
                    self._tell(track.begin(now))
                    self._follow(track, now)
                return {"ok": True}
            case "state":
                return self._state()
            case "stop":
                self._loop.stop()
                return {"ok": True}
            case other:
                return refusal(f"unknown command {other!r}: use play, halt, begin, state or stop")

    def _play(self, command: Mapping[str, object]) -> Answer:
        now = time.monotonic_ns()
        try:
            track = _track(command, now)
        except (KeyError, TypeError, ValueError) as error:
            return refusal(f"play: {type(error).__name__}: {error}")
        self._tracks[str(command.get("direction"))] = track
        self._follow(track, now)
        return {"ok": True}

    def _halt(self, direction: str) -> Answer:
        track = self._tracks.pop(direction, None)
        return {"ok": True, "start": track and track.start, "reached": track and track.reached}

    def _follow(self, track: _Track, now: Instant) -> None:
        if track not in self._tracks.values():
            return  # it was halted while its next step was waited for
        self._tell(track.follow(now))
        if track.due is not None:
            number = track.started
            self._loop.hold(track.due, 0, lambda _: self._wake(track, number), None)

    def _wake(self, track: _Track, started: int) -> None:
        if track.started == started:
            self._follow(track, time.monotonic_ns())

    def _tell(self, lines: Sequence[str]) -> None:
        stdin = self._tc.process.stdin
        assert stdin is not None
        try:
            stdin.write("".join(f"{line}\n" for line in lines).encode())
        except BrokenPipeError:
            pass  # it has ended, and what it said is the error

    def _hear(self) -> None:
        stderr = self._tc.process.stderr
        assert stderr is not None
        said = stderr.read(_SAID_BYTES)
        self._tc.said += said[: _SAID_BYTES - len(self._tc.said)]
        if not said:
            self._loop.forget(stderr)
        sys.stderr.buffer.write(said)
        sys.stderr.flush()

    def _state(self) -> Answer:
        code = self._tc.process.poll()
        said = self._tc.said.decode(errors="replace").strip()
        error = said or ("" if code is None else f"tc has ended with exit code {code}")
        tracks = {
            name: {"reached": track.reached, "done": track.due is None, "late": track.late}
            for name, track in self._tracks.items()
        }
        return {"ok": True, "error": error, "tracks": tracks}


# Any: what a command holds is JSON, from a program of the same version as ours.
def _track(command: Mapping[str, Any], now: Instant) -> _Track:
    start = command["start"]
    rate, delay = map(int, command["first"])
    steps = [(int(at), to_rate, to_delay) for at, to_rate, to_delay in command["steps"]]
    return _Track(
        str(command["rate"]),
        str(command["delay"]),
        (rate, delay),
        steps,
        now if start is None else int(start),
    )
