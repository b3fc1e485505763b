"""Deploying again makes the difference, touches nothing else, and can be killed at any moment."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.topology.model import LinkEndpoint
from orchestrator.wiring import cleanup, live
from orchestrator.wiring.journal import read_entries
from orchestrator.wiring.processes import start_of
from tests.netns.labs import left_over
from tests.support.command import narrows
from tests.unit.topology.test_difference import BASE, MORE

pytestmark = [pytest.mark.netns, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    for name, text in (("base", BASE), ("more", MORE)):
        (tmp_path / f"{name}.lab.yml").write_text(text)
    yield tmp_path
    run_ids = [lab.run_id for lab in cleanup.list_labs()]
    cleanup.destroy_all()
    assert [left_over(run_id) for run_id in run_ids] == [[] for _ in run_ids]


def deploy(place: Path, name: str, *options: str, code: int = 0) -> dict[str, Any]:
    ended = narrows(
        "deploy", place / f"{name}.lab.yml", "--results", place / "results", "-f", "json", *options
    )
    assert ended.code == code, ended.stderr
    told: dict[str, Any] = ended.json() if code == 0 else {"error": ended.stderr}
    return told


def processes_of(run_id: str) -> dict[str, int]:
    """What runs of a lab's own, by name: the newest of each."""
    return {
        entry.text("what"): entry.number("pid")
        for entry in read_entries(run_id)
        if entry.kind == "process" and start_of(entry.number("pid")) == entry.number("start")
    }


def test_only_the_difference_is_made_and_undone(place: Path) -> None:
    run_id = deploy(place, "base")["run_id"]
    before = processes_of(run_id)
    assert deploy(place, "base")["changes"] == []
    tried = deploy(place, "more", "--dry-run")
    assert not tried["applied"]
    assert [found["name"] for found in tried["changes"]] == ["far", "middle:eth3--far:eth1", "left", "right"]
    assert processes_of(run_id) == before
    grown = deploy(place, "more")
    assert (grown["run_id"], grown["changes"]) == (run_id, tried["changes"])
    # What is said to stay the same is the same process.
    assert [name for name, pid in processes_of(run_id).items() if before.get(name) == pid] == [
        name for name in before if name.startswith("shaper")
    ]
    lab = live.find(run_id)
    probe = "import socket; s = socket.create_server(('10.0.0.10', 99)); print('up', flush=True); s.accept()"
    with subprocess.Popen(
        ["nsenter", f"--net={lab.node('far').namespace}", sys.executable, "-c", probe],
        stdout=subprocess.PIPE,
        text=True,
    ) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "up\n"
        reach = "import socket; socket.create_connection(('10.0.0.10', 99), 20)"
        assert live.execute(lab, "left", [sys.executable, "-c", reach]) == 0
    deploy(place, "base")
    lab = live.find(run_id)
    assert [node.name for node in lab.nodes] == ["left", "middle", "right"]
    assert not any("far" in name for name in processes_of(run_id))


def test_what_was_changed_by_hand_is_put_back(place: Path) -> None:
    run_id = deploy(place, "base")["run_id"]
    live.set_impairments(live.find(run_id), LinkEndpoint("left", "eth1"), {"delay": "8ms"})
    (change,) = deploy(place, "base")["changes"]
    assert (change["what"], change["before"], change["after"]) == ("impairments", "delay=8ms", "delay=1ms")
    live.set_impairments(live.find(run_id), LinkEndpoint("left", "eth1"), {"delay": "8ms"})
    told = narrows("deploy", place / "base.lab.yml", "--results", place / "results")
    assert told.stdout.splitlines()[-1] == f"base ({run_id}): 1 change is made"
    assert deploy(place, "base")["changes"] == []


def test_what_cannot_change_is_refused_and_nothing_is_done(place: Path) -> None:
    run_id = deploy(place, "base")["run_id"]
    before = processes_of(run_id)
    refused = deploy(place, "base", "--seed", "9", code=127)["error"]
    assert "the seed cannot change" in refused
    assert "destroy the lab, and deploy it again" in refused
    assert processes_of(run_id) == before


def test_several_labs_of_one_name(place: Path) -> None:
    first, second = deploy(place, "base")["run_id"], deploy(place, "base", "--new")["run_id"]
    assert first != second
    assert "2 labs called base are up" in deploy(place, "base", code=4)["error"]
    assert deploy(place, "base", "--lab", second)["run_id"] == second
    assert "narrows inspect lists those" in deploy(place, "base", "--lab", "deadbeef", code=4)["error"]


# Where time is virtual, work takes none: each of these kills would come when all is done.
@pytest.mark.any_kernel
@pytest.mark.parametrize("number", range(3))
def test_a_change_that_was_killed_leaves_a_lab_that_can_be_destroyed(place: Path, number: int) -> None:
    deploy(place, "base")
    argv = [sys.executable, "-m", "orchestrator", "deploy", str(place / "more.lab.yml")]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL) as change:
        time.sleep(random.Random(number).uniform(0.3, 1.2))
        change.kill()
    # Before, within or after: it says which, or goes on as if nothing had been.
    ended = narrows("deploy", place / "more.lab.yml", "-f", "json")
    assert ended.code == 0 or "is only partly up" in ended.stderr
