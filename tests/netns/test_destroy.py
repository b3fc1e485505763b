"""Whatever becomes of the orchestrator, its labs can be removed from their journals alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from orchestrator.executor import Executor
from orchestrator.wiring import cleanup, namespaces
from orchestrator.wiring.journal import Journal, read_entries
from orchestrator.wiring.processes import start_of
from tests.netns.labs import PATIENCE_SECONDS, left_over, new_run_id
from tests.netns.orchestrate import await_line, orchestrate

pytestmark = [pytest.mark.netns, pytest.mark.slow]

#: A lab comes up in about a second; more kills come from the environment, for a night's run.
KILLS = int(os.environ.get("NARROWS_KILLS", "6"))
LONGEST_LIFE_SECONDS = 1.5


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


# Where time is virtual, work takes none: each of these kills would hit a lab that is up.
@pytest.mark.any_kernel
@pytest.mark.parametrize("number", range(KILLS))
def test_nothing_is_left_after_a_kill_at_any_moment(tmp_path: Path, state: Path, number: int) -> None:
    run_id = new_run_id()
    with orchestrate(run_id, tmp_path / "run", "attached"):
        time.sleep(random.Random(number).uniform(0.15, LONGEST_LIFE_SECONDS))
    cleanup.destroy_all()
    assert left_over(run_id) == []
    assert list(state.glob("*")) == []
    assert cleanup.destroy_all().removed == ()


def test_processes_end_with_a_killed_orchestrator(tmp_path: Path) -> None:
    run_id = new_run_id()
    with orchestrate(run_id, tmp_path / "run", "attached") as process:
        assert await_line(process) == "up"
        pids = [entry.number("pid") for entry in read_entries(run_id) if entry.kind == "process"]
    # What forks, two agents, two captures; a shaper for the link that needs it, if the kernel has no netem.
    assert len(pids) in (5, 6)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(start_of(pid) is not None for pid in pids):
        assert time.monotonic() < deadline, "processes outlive the orchestrator"
        time.sleep(0.01)
    cleanup.destroy(run_id)
    assert left_over(run_id) == []


def test_a_lab_in_use_is_left_alone_unless_forced(tmp_path: Path) -> None:
    run_id = new_run_id()
    with orchestrate(run_id, tmp_path / "run", "attached") as process:
        assert await_line(process) == "up"
        done = cleanup.destroy_all()
        assert [lab.run_id for lab in done.in_use] == [run_id]
        assert done.in_use[0].owner == process.pid
        assert left_over(run_id) != []
        assert [lab.run_id for lab in cleanup.destroy(run_id, force=True).removed] == [run_id]
        assert left_over(run_id) == []


def test_a_detached_lab_stays_until_it_is_destroyed_by_name(tmp_path: Path) -> None:
    run_id = new_run_id()
    with orchestrate(run_id, tmp_path / "run", "detached") as process:
        assert await_line(process) == "up"
        assert process.wait() == 0
    (summary,) = cleanup.list_labs()
    assert (summary.name, summary.up, summary.owner, summary.detached) == ("line", True, None, True)
    assert [lab.run_id for lab in cleanup.destroy("line").removed] == [run_id]
    assert left_over(run_id) == []


def test_nothing_of_others_is_touched(tmp_path: Path) -> None:
    """A namespace that looks like ours and a process whose number is in a journal, but started later."""
    executor, run_id = Executor(), new_run_id()
    lookalike = f"nw-{new_run_id()}-node-left"
    executor.run(["ip", "netns", "add", lookalike])
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        start = start_of(bystander.pid)
        assert start is not None
        with Journal.create(run_id) as journal:
            journal.record(
                {"kind": "lab", "name": "gone", "backend": "netns", "pid": 1, "detached": False},
                {"kind": "namespace", "name": f"nw-{run_id}-node-left"},
                {"kind": "process", "pid": bystander.pid, "start": start - 1, "what": "a forerunner"},
            )
        cleanup.destroy_all()
        assert bystander.poll() is None
        assert namespaces.path_of(lookalike).exists()
    finally:
        bystander.send_signal(signal.SIGKILL)
        bystander.wait()
        executor.run(["ip", "netns", "delete", lookalike])
