"""Processes on this machine: which are of a run, and ending them without mistaking one."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orchestrator
from orchestrator.executor import RUN_VARIABLE, Commands, Process
from orchestrator.wiring.journal import Journal

_PROC = Path("/proc")
#: A killed process is gone in milliseconds; one in an unkillable wait is not worth hanging for.
_DEATH_TIMEOUT_SECONDS = 10.0
#: Rounds of looking again for what a dying process started last.
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that cannot be mistaken for a later one with the same number."""

    pid: int
    #: When it started, in clock ticks since boot.
    start: int


def spawn_for_run(
    commands: Commands,
    journal: Journal,
    what: str,
    argv: Sequence[str],
    *,
    namespace: Path | None,
    log: Path,
    environment: Mapping[str, str],
    attached: bool,
) -> Process:
    """Start a long-lived process of a run: labelled with it, and in its journal.

    Args:
        commands: starts it.
        journal: of the run.
        what: what it is, for the journal.
        argv: what to run.
        namespace: path of the network namespace; None: ours.
        log: file for its output.
        environment: added to ours.
        attached: whether it ends with this process.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # Written before; the label finds a process whose number did not reach the journal any more.
    journal.record({"kind": "spawn", "what": what})
    process = commands.spawn(
        argv,
        namespace=namespace,
        log=log,
        environment={**_python_path(), **environment, RUN_VARIABLE: journal.run_id},
        attached=attached,
    )
    record_processes(journal, {what: process})
    return process


def record_processes(journal: Journal, started: Mapping[str, Process]) -> None:
    """Write processes into the journal of their run; one that has ended is left out."""
    known = {what: (process.pid, start_of(process.pid)) for what, process in started.items()}
    journal.record(
        *(
            {"kind": "process", "pid": pid, "start": start, "what": what}
            for what, (pid, start) in known.items()
            if start is not None
        )
    )


def start_of(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None: there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name, in parentheses, may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def of_run(
    run_id: str, *, namespaces: Collection[tuple[int, int]], known: Collection[ProcessIdentity]
) -> list[int]:
    """Return the processes of a run: labelled with it, in one of its own namespaces, or known to be.

    This process and those that it descends from are never among them.

    Args:
        run_id: what the label in their environment says.
        namespaces: identities of namespaces that the run made itself.
        known: from its journal.
    """
    spared = set(_ancestors())
    label = f"{RUN_VARIABLE}={run_id}".encode()
    found: set[int] = set()
    for pid in _pids():
        if pid not in spared and (_has_label(pid, label) or _namespace_of(pid) in namespaces):
            found.add(pid)
    found.update(
        process.pid
        for process in known
        if process.pid not in spared and start_of(process.pid) == process.start
    )
    return sorted(found)


def found_in(namespaces: Collection[tuple[int, int]], known: Collection[ProcessIdentity]) -> list[int]:
    """Return the processes in some namespaces, by their identities, and those of ``known`` that run."""
    spared = set(_ancestors())
    inside = {pid for pid in _pids() if namespaces and _namespace_of(pid) in namespaces}
    inside |= {process.pid for process in known if start_of(process.pid) == process.start}
    return sorted(pid for pid in inside - spared if start_of(pid) is not None)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process; nothing happens if it has ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # that is what was wanted


def end_all(
    run_id: str, *, namespaces: Collection[tuple[int, int]], known: Collection[ProcessIdentity]
) -> list[int]:
    """Kill the processes of a run and wait until they are gone; arguments as ``of_run``.

    Returns:
        Those that are still there.
    """
    left: list[int] = []
    for _ in range(_ROUNDS):
        left = of_run(run_id, namespaces=namespaces, known=known)
        if not left:
            break
        _kill(left)
    return left


def _python_path() -> dict[str, str]:
    # From a checkout that is not installed, `python -m node` must find the package from anywhere.
    root = str(Path(orchestrator.__file__).resolve().parent.parent)
    others = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{root}{os.pathsep}{others}" if others else root}


def _kill(pids: list[int]) -> None:
    descriptors: list[int] = []
    try:
        for pid in pids:
            try:
                descriptors.append(os.pidfd_open(pid))
            except ProcessLookupError:
                continue
        poll = select.poll()
        waiting = set(descriptors)
        for descriptor in descriptors:
            try:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                poll.register(descriptor, select.POLLIN)
            except ProcessLookupError:
                waiting.discard(descriptor)
        while waiting:
            ready = poll.poll(_DEATH_TIMEOUT_SECONDS * 1000)
            if not ready:
                return
            for descriptor, _ in ready:
                poll.unregister(descriptor)
                waiting.discard(descriptor)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(_PROC) if name.isdecimal())


def _has_label(pid: int, label: bytes) -> bool:
    try:
        data = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return label in data.split(b"\0")


def _namespace_of(pid: int) -> tuple[int, int] | None:
    try:
        found = os.stat(_PROC / str(pid) / "ns" / "net")
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        pid = int(text.rpartition(")")[2].split()[1])
