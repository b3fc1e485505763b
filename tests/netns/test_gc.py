"""Garbage is what labs left whose makers have died; nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.wiring import cleanup, state
from orchestrator.wiring.journal import read_entries, run_ids
from tests.netns.labs import left_over, new_run_id
from tests.netns.orchestrate import await_line, orchestrate
from tests.support.command import narrows, started
from tests.unit.topology.test_difference import BASE

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.any_kernel]


#: In how many of them a deploy may come to its end before it is killed, on a machine that is busy.
ROUNDS = 10


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    (tmp_path / "base.lab.yml").write_text(BASE + "labels: {owner: ci}\n")
    yield tmp_path
    run_ids = [lab.run_id for lab in cleanup.list_labs()]
    cleanup.destroy_all()
    assert [left_over(run_id) for run_id in run_ids] == [[] for _ in run_ids]


def collect(*options: str) -> dict[str, Any]:
    ended = narrows("gc", "-f", "json", *options)
    assert ended.code == 0, ended.stderr
    return ended.json()


def deploy(place: Path, *options: str) -> str:
    ended = narrows("deploy", place / "base.lab.yml", "--results", place / "r", "-f", "json", *options)
    assert ended.code == 0, ended.stderr
    return str(ended.json()["run_id"])


def test_a_lab_whose_maker_was_killed_is_garbage_and_one_that_is_owned_or_deployed_is_not(
    place: Path,
) -> None:
    deployed, dead, owned = deploy(place), new_run_id(), new_run_id()
    with orchestrate(dead, place / "dead", "attached") as process:
        assert await_line(process) == "up"
    with orchestrate(owned, place / "owned", "attached") as process:
        assert await_line(process) == "up"
        assert collect("--older-than", "1h")["labs"] == []
        assert [lab["run_id"] for lab in collect("--dry-run")["labs"]] == [dead]
        assert left_over(dead) != []
        assert [lab["run_id"] for lab in collect()["labs"]] == [dead]
        assert left_over(dead) == []
        assert state.load(owned) is not None
    assert state.load(deployed) is not None


def test_a_deployed_lab_whose_agents_had_not_all_answered_is_garbage(place: Path) -> None:
    """It listed as up as soon as its links were there, and nothing but its name removed it."""
    for _ in range(ROUNDS):
        killed = killed_at_its_first_agent(place)
        if not killed.up:
            break
        assert narrows("destroy", killed.run_id).code == 0  # it was faster than we were
    else:
        pytest.fail("it is up whenever it is killed")
    ended = narrows("deploy", place / "base.lab.yml", "--lab", killed.run_id)
    assert "only partly up" in ended.stderr
    assert [lab["run_id"] for lab in collect()["labs"]] == [killed.run_id]
    assert left_over(killed.run_id) == []


def killed_at_its_first_agent(place: Path) -> cleanup.LabSummary:
    """The lab of a ``narrows deploy`` that is killed when it is about to start its agents."""
    with started("deploy", place / "base.lab.yml", "--results", place / "r") as process:
        while not any(
            entry.kind == "spawn" and entry.text("what").startswith("agent of ")
            for run_id in run_ids()
            for entry in read_entries(run_id)
        ):
            assert process.poll() is None, process.stderr and process.stderr.read()
        process.kill()
        process.wait()
    (lab,) = cleanup.list_labs()
    return lab


def test_labels_choose(place: Path) -> None:
    first = deploy(place)
    second = deploy(place, "--new", "--label", "owner=me", "--label", "ticket=42")
    listed = narrows("inspect", "--label", "ticket=", "-f", "json").json()["labs"]
    assert [(lab["run_id"], lab["labels"]) for lab in listed] == [(second, {"owner": "me", "ticket": "42"})]
    assert collect("--label", "owner=nobody", "--deployed")["labs"] == []
    assert [lab["run_id"] for lab in collect("--label", "owner=ci", "--deployed")["labs"]] == [first]
    assert state.load(second) is not None
    assert narrows("gc", "--label", "narrows.run=1").code == 2
