"""What the fork server forks is as if it had been started: and goes when it should."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.forkserver.server import ForkServer as Serving
from orchestrator.errors import BackendError
from orchestrator.executor import RUN_VARIABLE, Executor, Process
from orchestrator.wiring.forkserver import ForkServer, Wanted
from orchestrator.wiring.journal import Journal
from orchestrator.wiring.processes import start_of

RUN = "0123abcd"
PATIENCE_SECONDS = 20.0


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    with Journal.create(RUN) as made:
        yield made


@pytest.fixture
def server(tmp_path: Path, journal: Journal) -> Iterator[ForkServer]:
    made = server_in(tmp_path, journal, attached=True)
    yield made
    made.end()
    assert made.process is not None
    assert made.process.wait_blocking(PATIENCE_SECONDS) == 0


def server_in(
    place: Path,
    journal: Journal,
    *,
    attached: bool,
    modules: tuple[str, ...] = ("tests.support.forked.__main__",),
) -> ForkServer:
    made = ForkServer(
        Executor(), journal, place / "fork.sock", log=place / "server.log", attached=attached, modules=modules
    )
    made.start()
    return made


def wanted(place: Path, name: str, *arguments: str, namespace: Path = Path("/proc/self/ns/net")) -> Wanted:
    log = place / "logs" / f"{name}.log"
    return Wanted(name, "tests.support.forked", arguments, namespace, log, f"agent {name}", {"WORD": name})


def said(process: Process) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while b"\n" not in (text := process.log.read_bytes() if process.log.exists() else b""):
        assert time.monotonic() < deadline, "it says nothing"
        time.sleep(0.01)
    found: dict[str, Any] = json.loads(text.splitlines()[0])
    return found


def test_a_fork_is_a_process_of_its_own(tmp_path: Path, server: ForkServer, journal: Journal) -> None:
    ending, raising = server.spawn([wanted(tmp_path, "left", "end", "7"), wanted(tmp_path, "right", "raise")])
    assert ending.wait_blocking(PATIENCE_SECONDS) == 7
    assert raising.wait_blocking(PATIENCE_SECONDS) == 1
    assert "RuntimeError: on purpose" in raising.tail()
    about, other = said(ending), said(raising)
    assert about["argv"] == ["end", "7"]
    assert about["word"] == "left"
    assert about["session"]
    # 0, 1, 2, and the one with which it looks: nothing of the server's is open in it.
    assert about["descriptors"] == [0, 1, 2, 3]
    assert about["chance"] != other["chance"], "what was made before the fork is in both"
    assert not set(about["chance"]) & set(other["chance"])
    kinds = [(entry.kind, entry.text("what")) for entry in journal.entries()]
    assert kinds[2:4] == [("spawn", "left"), ("spawn", "right")]


def test_forks_carry_label_and_title(tmp_path: Path, server: ForkServer) -> None:
    (process,) = server.spawn([wanted(tmp_path, "left", "wait")])
    said(process)
    place = Path("/proc", str(process.pid))
    assert f"{RUN_VARIABLE}={RUN}".encode() in (place / "environ").read_bytes().split(b"\0")
    assert (place / "comm").read_text() == "agent left\n"
    shown = (place / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")[1:]
    assert shown == [b"-m", b"tests.support.forked", b"wait"]
    process.send(signal.SIGTERM)
    assert process.wait_blocking(PATIENCE_SECONDS) == -signal.SIGTERM


def test_all_that_it_forked_ends_with_it(tmp_path: Path, journal: Journal) -> None:
    server = server_in(tmp_path, journal, attached=True)
    forked = server.spawn([wanted(tmp_path, name, "wait") for name in ("left", "right")])
    assert server.process is not None
    server.process.send(signal.SIGKILL)
    await_end(forked)
    # Who could tell how it ended has ended too.
    assert [process.poll() for process in forked] == [-9, -9]
    with pytest.raises(BackendError, match="does not answer"):
        server.spawn([wanted(tmp_path, "late", "wait")])
    server.end()


def test_of_a_lab_that_stays_up_they_outlive_it(tmp_path: Path, journal: Journal) -> None:
    server = server_in(tmp_path, journal, attached=False)
    (process,) = server.spawn([wanted(tmp_path, "left", "wait")])
    said(process)
    server.leave()
    assert server.process is not None
    assert server.process.wait_blocking(PATIENCE_SECONDS) == 0, "it is not needed any more"
    assert start_of(process.pid) is not None
    os.kill(process.pid, signal.SIGKILL)
    await_end([process])


def test_one_that_cannot_enter_its_namespace_says_so(tmp_path: Path, server: ForkServer) -> None:
    (process,) = server.spawn([wanted(tmp_path, "left", "wait", namespace=Path("/proc/self/ns/uts"))])
    assert process.wait_blocking(PATIENCE_SECONDS) == 3
    assert "cannot enter namespace /proc/self/ns/uts" in process.tail()


def test_nothing_is_forked_beside_a_thread(tmp_path: Path, journal: Journal) -> None:
    server = server_in(tmp_path, journal, attached=True, modules=("tests.support.threaded",))
    with pytest.raises(BackendError, match="a module that was preloaded has started a thread"):
        server.spawn([wanted(tmp_path, "left", "wait")])
    server.end()


def await_end(processes: list[Process]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(start_of(process.pid) is not None for process in processes):
        assert time.monotonic() < deadline, "they outlive it"
        time.sleep(0.01)


def test_a_fork_that_fails_takes_those_before_it_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of processes that nobody was told of, nobody would keep a journal."""
    made: list[int] = []

    def fork(server: Serving, order: object) -> int:
        if len(made) == 2:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        made.append(os.posix_spawn("/bin/sleep", ["sleep", "1000"], {}))
        return made[-1]

    monkeypatch.setattr(Serving, "_fork", fork)
    monkeypatch.setattr("node.forkserver.child.orders", lambda asked: asked)
    serving = Serving(tmp_path / "fork.sock", attached=True)
    answer = serving._answer(b'{"spawn": [1, 2, 3]}')
    serving._listener.close()
    serving._selector.close()
    assert "too many processes" in str(answer["error"])
    assert len(made) == 2
    for pid in made:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
