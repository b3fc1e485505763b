"""One command with all that it starts: run for a limited time, and ended with nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.lanes import machine

#: Says whose a process is. It is inherited by what starts a session of its own, and by what outlives its
#: parent, which neither a process group nor the tree of parents finds. A group would be no foreground either:
#: Ctrl-C would not reach the tests.
MARK_VARIABLE = "NARROWS_LANE_PROCESS"
#: What was told to end, and removes its labs.
GRACE_SECONDS = 60.0
#: A process that was killed is gone at once, but in the middle of I/O.
_KILLED_SECONDS = 10.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command has ended."""

    status: int
    #: It was ended, since it ran longer than its limit.
    too_long: bool = False


def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    output: IO[bytes] | None,
    limit_seconds: float,
    grace_seconds: float = GRACE_SECONDS,
    at_limit: Callable[[int], None] = lambda _: None,
) -> Ended:
    """Run a command in the project's directory.

    Args:
        argv: what to run.
        environment: all of its variables.
        output: for both of its outputs; None: ours.
        limit_seconds: when to end it: by SIGTERM, then by SIGKILL to all that it has started.
        grace_seconds: between the two.
        at_limit: called with the command's process ID before SIGTERM, while all is as it was.
    """
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        argv,
        env={**environment, MARK_VARIABLE: mark},
        cwd=machine.ROOT,
        stdout=output,
        stderr=output,
    )
    try:
        return Ended(process.wait(limit_seconds))
    except subprocess.TimeoutExpired:
        at_limit(process.pid)
        _end(process, mark, grace_seconds)
        return Ended(process.returncode, too_long=True)
    except KeyboardInterrupt:
        # The terminal tells the command, too: it removes its labs now, and SIGTERM would disturb that.
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:  # Also for a second Ctrl-C.
            _end(process, mark, grace_seconds)
        raise


def _end(process: subprocess.Popen[bytes], mark: str, grace_seconds: float) -> None:
    until = time.monotonic() + grace_seconds
    process.terminate()
    _wait(lambda: process.poll() is not None, until)
    # A pytest without a lab ends at once, and leaves what its test has started: that may have labs.
    _send(mark, signal.SIGTERM)
    _wait(lambda: not _marked(mark), until)
    until = time.monotonic() + _KILLED_SECONDS
    while _marked(mark) and time.monotonic() < until:  # Again: one may just be starting another.
        _send(mark, signal.SIGKILL)
        _wait(lambda: not _marked(mark), time.monotonic() + _POLL_SECONDS)
    process.kill()  # Where there is no /proc to find it by its mark.
    process.wait()


def _wait(done: Callable[[], bool], until: float) -> None:
    while not done() and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)


def _send(mark: str, number: signal.Signals) -> None:
    for pid in _marked(mark):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _marked(mark: str) -> list[int]:
    """Processes that run with our mark; one that has ended and that nobody has waited for has none."""
    entry = f"{MARK_VARIABLE}={mark}".encode()
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if entry in (directory / "environ").read_bytes().split(b"\0"):
                found.append(int(directory.name))
    return found
