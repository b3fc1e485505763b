"""Which directories of results are old runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from node.protocol.time import SECOND
from orchestrator.wiring import garbage

HOUR = 3600


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def make(path: Path, age: float) -> Path:
    path.mkdir(parents=True)
    (path / "result.json").write_text("{}")
    for found in (path / "result.json", path):
        os.utime(found, (time.time() - age,) * 2)
    return path


def test_only_runs_that_are_old_and_over_are_garbage(tmp_path: Path, state: Path) -> None:
    results = tmp_path / "results"
    old = make(results / "line-0123abcd", 2 * HOUR)
    make(results / "line-0123abce", HOUR / 2)
    make(results / "line-0123abcf", 2 * HOUR)
    (state / "0123abcf").mkdir(parents=True)
    make(results / "notes", 2 * HOUR)
    (results / "photos-0123abca").mkdir()
    os.utime(results / "photos-0123abca", (0, 0))
    # It goes on: its state is elsewhere, its result is not there, and what it writes lies deep.
    running = results / "line-0123abc9"
    (running / "nodes" / "a").mkdir(parents=True)
    (running / "captures").mkdir()
    (running / "nodes" / "a" / "film").write_bytes(b"just now")
    for found in (running / "nodes" / "a", running / "nodes", running / "captures", running):
        os.utime(found, (0, 0))
    (results / "link-0123abcb").symlink_to(old)
    assert garbage.old_runs(results, HOUR * SECOND) == [old]
    garbage.remove([], [old])
    assert not old.exists()
