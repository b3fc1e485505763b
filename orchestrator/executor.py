"""The only place that starts processes: short commands with a time limit, and long-lived ones to watch."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orchestrator.errors import BackendError, EnvironmentMissingError

#: No command of ours takes a second on an idle machine; this many is a hung one.
COMMAND_TIMEOUT_SECONDS = 60.0
#: What each of many things that are done together may add. Lines of `ip` for the namespaces and links of a
#: thousand nodes took 30 ms each on a machine of two cores that did ten other things.
_EACH_SECONDS = 0.25
#: Environment variable that marks every long-lived process with the run it belongs to.
RUN_VARIABLE = "NW_RUN"
_TAIL_BYTES = 4000
_SAFE_TOKEN = re.compile(r"[^\s\"'\\#]+")


class CommandError(BackendError):
    """A command failed.

    Args:
        argv: what was run.
        exit_code: its exit status; None: it was stopped at its time limit.
        stderr: what it said.
    """

    def __init__(self, argv: Sequence[str], exit_code: int | None, stderr: str) -> None:
        outcome = "took too long" if exit_code is None else f"exit code {exit_code}"
        super().__init__(f"{' '.join(argv)}: {outcome}: {stderr.strip() or 'no message'}")
        self.argv = tuple(argv)
        self.exit_code = exit_code
        self.stderr = stderr


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


class Commands(Protocol):
    """What the wiring needs of an executor; Executor does it, FakeExecutor writes it down."""

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        namespace: Path | None = None,
        check: bool = True,
        timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
    ) -> Completed:
        """Run one command to its end.

        Args:
            stdin: text it reads.
            namespace: path of the network namespace it runs in; None: ours.
            check: whether a failure raises.

        Raises:
            CommandError: it failed (with ``check``) or took too long.
            EnvironmentMissingError: there is no such program.
        """
        ...

    def spawn(
        self,
        argv: Sequence[str],
        *,
        namespace: Path | None,
        log: Path,
        environment: Mapping[str, str],
        attached: bool,
    ) -> Process:
        """Start a long-lived process; its output goes to the end of ``log``.

        Args:
            environment: added to ours.
            attached: whether it is killed when the thread that called this ends, however it ends.

        Raises:
            EnvironmentMissingError: there is no such program.
        """
        ...


class Executor:
    """Runs commands for real.

    Args:
        environment: added to ours for each of them.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(environment or {})

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        namespace: Path | None = None,
        check: bool = True,
        timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
    ) -> Completed:
        """See Commands."""
        whole = _in_namespace(argv, namespace)
        try:
            done = subprocess.run(
                whole,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_seconds,
                check=False,
                env={**os.environ, **self._environment},
            )
        except FileNotFoundError as error:
            raise _missing(str(error.filename or argv[0])) from error
        except subprocess.TimeoutExpired as error:
            raise CommandError(whole, None, _text(error.stderr)) from error
        if check and done.returncode != 0:
            raise CommandError(whole, done.returncode, done.stderr or done.stdout)
        return Completed(tuple(whole), done.returncode, done.stdout, done.stderr)

    def call(self, argv: Sequence[str], *, namespace: Path | None = None) -> int:
        """Run a command on this terminal, for as long as it takes; return its exit status.

        Raises:
            EnvironmentMissingError: there is no such program.
        """
        try:
            return subprocess.call(_in_namespace(argv, namespace))
        except FileNotFoundError as error:
            raise _missing(str(error.filename or argv[0])) from error

    def spawn(
        self,
        argv: Sequence[str],
        *,
        namespace: Path | None,
        log: Path,
        environment: Mapping[str, str],
        attached: bool,
    ) -> Process:
        """See Commands."""
        whole = _in_namespace(argv, namespace)
        if attached:
            # prctl(PR_SET_PDEATHSIG) survives the two exec calls that follow.
            whole = ["setpriv", "--pdeathsig=KILL", "--", *whole]
        program = shutil.which(whole[0])
        if program is None:
            raise _missing(whole[0])
        # posix_spawn does not copy this process, as fork would: a hundred agents start without a pause.
        pid = os.posix_spawn(
            program,
            whole,
            {**os.environ, **self._environment, **environment},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            # A session of its own: Ctrl-C in the terminal is the orchestrator's to handle.
            setsid=True,
            setsigmask=[],
        )
        return Process(pid, tuple(argv), log)


class Process:
    """A long-lived process that we started, held by a descriptor so that its number cannot be mistaken."""

    def __init__(self, pid: int, argv: tuple[str, ...], log: Path) -> None:
        self.pid = pid
        self.argv = argv
        self.log = log
        self.exit_code: int | None = None
        self._descriptor = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return the exit status (negative: the signal that ended it), or None while it runs."""
        if self.exit_code is None and self._descriptor >= 0:
            self.exit_code = self._reap(self._descriptor)
            if self.exit_code is not None:
                self.release()
        return self.exit_code

    def _reap(self, descriptor: int) -> int | None:
        """Return the exit status if it has ended; it is a child of this process."""
        result = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)
        if result is None:
            return None
        return -result.si_status if result.si_code != os.CLD_EXITED else result.si_status

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the process has ended."""
        if self.poll() is not None or self._descriptor < 0:
            return
        try:
            signal.pidfd_send_signal(self._descriptor, number)
        except ProcessLookupError:
            pass  # it ended this instant

    async def wait(self) -> int:
        """Wait for the end and return the exit status."""
        loop = asyncio.get_running_loop()
        while (code := self.poll()) is None:
            ended = asyncio.Event()
            # A copy: whoever else waits has a reader of his own.
            watched = os.dup(self._descriptor)
            loop.add_reader(watched, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(watched)
                os.close(watched)
        return code

    def wait_blocking(self, timeout_seconds: float) -> int | None:
        """Wait for the end without an event loop; None: it still runs after ``timeout_seconds``."""
        deadline = time.monotonic() + timeout_seconds
        while self.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.exit_code

    async def stop(self, *, grace_seconds: float) -> int:
        """Ask the process to end, kill it after ``grace_seconds``, and return its exit status."""
        self.send(signal.SIGTERM)
        # One that was paused cannot hear.
        self.send(signal.SIGCONT)
        try:
            return await asyncio.wait_for(self.wait(), grace_seconds)
        except TimeoutError:
            self.send(signal.SIGKILL)
            return await self.wait()

    def tail(self) -> str:
        """Return the last lines of its log."""
        try:
            data = self.log.read_bytes()
        except OSError:
            return ""
        return data[-_TAIL_BYTES:].decode("utf-8", "replace")

    def release(self) -> None:
        """Stop watching; the process goes on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@dataclass
class FakeExecutor:
    """Runs nothing and writes down what would have been run; for tests and for showing a plan.

    Args:
        answer: gives the standard output of a command; default: nothing.
    """

    answer: Callable[[tuple[str, ...]], str] = field(default=lambda _: "")
    #: One text a command, its standard input indented below it.
    script: list[str] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        namespace: Path | None = None,
        check: bool = True,
        timeout_seconds: float = COMMAND_TIMEOUT_SECONDS,
    ) -> Completed:
        """Write the command down and succeed."""
        del check, timeout_seconds
        whole = tuple(_in_namespace(argv, namespace))
        self.script.append(" ".join(whole))
        self.script.extend(f"    {line}" for line in stdin.splitlines())
        return Completed(whole, 0, self.answer(tuple(argv)), "")

    def spawn(
        self,
        argv: Sequence[str],
        *,
        namespace: Path | None,
        log: Path,
        environment: Mapping[str, str],
        attached: bool,
    ) -> Process:
        """Write the command down; there is no process to give."""
        del log, environment, attached
        self.script.append(" ".join(_in_namespace(argv, namespace)) + " &")
        raise BackendError("a FakeExecutor starts no processes")


def time_limit(seconds: float, count: int) -> float:
    """Return how long ``count`` things may take together that take at most ``seconds`` where they are few."""
    return seconds + _EACH_SECONDS * count


def run_batch(
    commands: Commands,
    program: str,
    lines: Sequence[Sequence[str]],
    *,
    namespace: Path | None = None,
    force: bool = False,
) -> None:
    """Run many ``ip`` or ``tc`` commands in one process.

    Args:
        program: ``ip`` or ``tc``.
        lines: arguments of each command, without the program.
        force: go on after a failure, and raise nothing.

    Raises:
        CommandError: names the command that failed.
    """
    if not lines:
        return
    for line in lines:
        for token in line:
            assert _SAFE_TOKEN.fullmatch(token), f"{token!r} would be split or cut in a batch"
    argv = [program, *(["-force"] if force else []), "-batch", "-"]
    stdin = "".join(" ".join(line) + "\n" for line in lines)
    limit = time_limit(COMMAND_TIMEOUT_SECONDS, len(lines))
    done = commands.run(argv, stdin=stdin, namespace=namespace, check=False, timeout_seconds=limit)
    if done.exit_code == 0 or force:
        return
    failed = re.search(r"Command failed -:(\d+)", done.stderr)
    if failed is None:
        raise CommandError(done.argv, done.exit_code, done.stderr)
    culprit = lines[int(failed[1]) - 1]
    raise CommandError([program, *culprit], done.exit_code, done.stderr)


def _in_namespace(argv: Sequence[str], namespace: Path | None) -> list[str]:
    # nsenter, not `ip netns exec`: that one copies the mount table too, which takes longer the more
    # namespaces there are.
    return list(argv) if namespace is None else ["nsenter", f"--net={namespace}", "--", *argv]


def _missing(program: str) -> EnvironmentMissingError:
    packages = {"ip": "iproute2", "tc": "iproute2", "nsenter": "util-linux", "setpriv": "util-linux"}
    package = packages.get(program, program)
    return EnvironmentMissingError(f"no program {program}: install the package {package}")


def _text(data: bytes | str | None) -> str:
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else data or ""
