"""A lane that hangs is ended with all that it has started, and the table says in which test it was."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lanes import setup
from tests.lanes.__main__ import run_lane
from tests.lanes.outcome import Outcome, table
from tests.lanes.table import Lane
from tests.support.command import PATIENCE_SECONDS, ROOT

#: Nobody knows how long pytest takes to its first test on a shared machine: limits grow until it got there.
LIMITS_SECONDS = (2, 8, 32, 128)

HANGS = """
import threading
def test_passes(): pass
def test_hangs(): threading.Event().wait()
"""
IGNORES_SIGTERM = """
import pathlib, signal, subprocess, sys, threading
CHILD = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
def test_hangs():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", CHILD], start_new_session=True, stdout=subprocess.PIPE)
    child.stdout.readline()
    with pathlib.Path(__file__).with_name("pids").open("a") as file:
        file.write(f"{child.pid}\\n")
    threading.Event().wait()
"""
#: What the test has started has a session of its own, and only it knows what to remove.
LEAVES_A_CHILD = """
import pathlib, subprocess, sys, threading
CHILD = '''
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(open("removed", "w").close()))
print(flush=True)
while True:
    signal.pause()
'''
def test_hangs():
    here = pathlib.Path(__file__).parent
    command = [sys.executable, "-c", CHILD]
    child = subprocess.Popen(command, cwd=here, start_new_session=True, stdout=subprocess.PIPE)
    child.stdout.readline()
    threading.Event().wait()
"""
HAS_A_LAB = """
import pathlib, threading, pytest
from orchestrator.pytest_termination import termination_in_order
@pytest.fixture
def lab():
    with termination_in_order():
        yield
        pathlib.Path(__file__).with_name("removed").touch()
def test_hangs(lab): threading.Event().wait()
"""
HANGS_AT_THE_END = """
import threading
def pytest_unconfigure(): threading.Event().wait()
"""
TELLS = """
import os, pathlib, threading
def test_hangs():
    with pathlib.Path(__file__).with_name("pids").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    threading.Event().wait()
"""
RUN = """
import sys
from pathlib import Path
from tests.lanes import setup
from tests.lanes.__main__ import run_all
from tests.lanes.table import Lane
setup.REPORTS = Path(sys.argv[1])
run_all([Lane(f"lane{n}", "", "", (sys.argv[2],), beside=n > 0) for n in range(4)])
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(setup, "REPORTS", tmp_path / "reports")
    return tmp_path


def ended(place: Path, text: str, *, grace_seconds: float = PATIENCE_SECONDS) -> Outcome:
    """The outcome of a lane of one file that hangs, once a limit was long enough for it to hang."""
    (place / "test_it.py").write_text(text)
    for limit in LIMITS_SECONDS:
        outcome = run_lane(
            lane_of(place), ready(), foreground=False, limit_seconds=limit, grace_seconds=grace_seconds
        )
        assert outcome.broken.startswith(f"ran longer than {limit / 60:g} minutes, and was ended ")
        if "before its first test" not in outcome.broken and "test_passes" not in outcome.broken:
            return outcome
    pytest.fail("no limit is long enough for it to hang")


def lane_of(place: Path) -> Lane:
    return Lane("hanging", "", "", (os.path.relpath(place, ROOT / "tests"),))


def ready() -> Future[object]:
    """A set-up that is through."""
    done: Future[object] = Future()
    done.set_result(None)
    return done


def log(place: Path) -> str:
    return (place / "reports" / "hanging.log").read_text()


def test_a_lane_that_hangs_is_ended_and_the_table_says_in_which_test_it_was(place: Path) -> None:
    outcome = ended(place, HANGS)
    assert outcome.broken.endswith("test_it.py::test_hangs")
    assert not outcome.ok
    said = table([outcome])
    assert "FAILED" in said
    assert outcome.broken in said
    assert said.endswith("0 passed, 1 failed, 0 skipped")


def test_the_log_has_the_traceback_of_the_test_that_hung(place: Path) -> None:
    ended(place, HANGS)
    assert re.search(r"threading\.py.* in wait\n.*test_it\.py.* in test_hangs", log(place))


def test_what_ignores_sigterm_is_killed_with_what_it_has_started(place: Path) -> None:
    outcome = ended(place, IGNORES_SIGTERM, grace_seconds=1)
    assert outcome.broken.endswith("test_it.py::test_hangs")
    pids = (place / "pids").read_text().split()
    assert pids
    assert [pid for pid in pids if runs(pid)] == []


def runs(pid: str) -> bool:
    """Its zombie, which nobody may have waited for, runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("text", [HAS_A_LAB, LEAVES_A_CHILD], ids=["pytest", "what a test has started"])
def test_labs_are_removed_first(text: str, place: Path) -> None:
    outcome = ended(place, text)
    assert outcome.broken.endswith("test_it.py::test_hangs")
    assert (place / "removed").exists()
    assert outcome.passed == 0


def test_a_lane_that_hangs_behind_its_last_test_says_so(place: Path) -> None:
    (place / "conftest.py").write_text(HANGS_AT_THE_END)
    outcome = ended(place, "def test_it(): pass")
    assert outcome.broken.endswith("after its last test")
    assert outcome.passed == 1


def test_a_lane_that_does_not_hang_is_what_its_report_says(place: Path) -> None:
    (place / "test_it.py").write_text("def test_it(): pass")
    outcome = run_lane(lane_of(place), ready(), foreground=True, limit_seconds=PATIENCE_SECONDS)
    assert (outcome.passed, outcome.broken) == (1, "")


def test_ctrl_c_ends_all_lanes_and_begins_no_other(place: Path) -> None:
    """The terminal tells its whole foreground group, which the lanes' processes belong to."""
    (place / "test_it.py").write_text(TELLS)
    argv = [sys.executable, "-c", RUN, str(place / "reports"), os.path.relpath(place, ROOT / "tests")]
    process = subprocess.Popen(argv, cwd=ROOT, start_new_session=True)
    try:
        pids = place / "pids"
        wait_until("two lanes hang", lambda: pids.exists() and pids.read_text().count("\n") == 2)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGINT
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert len(pids.read_text().split()) == 2
    assert [pid for pid in pids.read_text().split() if runs(pid)] == []


def wait_until(what: str, done: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < until, f"it never came that {what}"
        time.sleep(0.05)
