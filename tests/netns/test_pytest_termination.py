"""A pytest that is told to end while its lab is up removes it first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.wiring import cleanup
from tests.netns.labs import left_over
from tests.support.command import PATIENCE_SECONDS, ROOT

pytestmark = [pytest.mark.netns, pytest.mark.slow]

LAB = """
name: pair
time-limit: 600s
topology:
  nodes: {a: {}, b: {}}
  links: [{endpoints: ["a:eth1", "b:eth1"], netem: {delay: 5ms, rate: 1Mbit, queue: 100p}}]
workloads:
  film: {kind: bulk, from: a, to: b, size: 100MB}
"""
#: What a test does with its lab, until it is killed.
BODIES = {
    "deployed": """
    with lab.deployed() as up:
        print("up", flush=True)
        time.sleep(600)
""",
    "waiting": """
    with lab.deployed() as up:
        print("up", flush=True)
        up.sleep(600)
""",
    "run": """
    threading.Thread(target=tell, daemon=True).start()
    lab.run()
""",
}
TEST = """
import threading, time

import pytest

from orchestrator.wiring import cleanup


def tell():
    while not any(lab.up for lab in cleanup.list_labs()):
        time.sleep(0.02)
    print("up", flush=True)


@pytest.mark.topology("pair.lab.yml")
def test_it(lab):
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    (tmp_path / "pair.lab.yml").write_text(LAB)
    yield tmp_path
    cleanup.destroy_all()


@pytest.mark.parametrize("doing", BODIES)
def test_sigterm_removes_the_lab(doing: str, place: Path) -> None:
    (place / "test_it.py").write_text(TEST + BODIES[doing])
    options = ("-p", "orchestrator.pytest_plugin", "-p", "no:cacheprovider", "--narrows-backend", "netns")
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-s", *options, "test_it.py"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = ""
        while not said.rstrip().endswith("up"):
            line = process.stdout.readline()
            assert line, said
            said += line
        (run_id,) = (lab.run_id for lab in cleanup.list_labs())
        # As timeout(1) does: it signals its child, and then its group.
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        said += process.communicate(timeout=PATIENCE_SECONDS)[0]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == pytest.ExitCode.INTERRUPTED, said
    assert "KeyboardInterrupt" in said
    assert cleanup.list_labs() == []
    assert left_over(run_id) == []
