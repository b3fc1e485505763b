"""Actions on a lab that is up: they end by themselves, or can be listed and ended, whoever was killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.protocol.time import SECOND
from orchestrator.errors import BackendError
from orchestrator.topology.model import LinkEndpoint
from orchestrator.wiring import cleanup, fault_book, live, live_faults
from orchestrator.wiring.fault_words import read_words
from orchestrator.wiring.journal import read_entries
from orchestrator.wiring.state import LabRecord
from tests.netns.labs import left_over, new_run_id
from tests.netns.orchestrate import await_line, orchestrate
from tests.support.command import PATIENCE_SECONDS, narrows

pytestmark = [pytest.mark.netns, pytest.mark.slow]

LEFT = LinkEndpoint("left", "eth1")


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LabRecord]:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    run_id = new_run_id()
    with orchestrate(run_id, tmp_path / "run", "detached") as process:
        assert await_line(process) == "up"
        assert process.wait() == 0
    yield live.find()
    cleanup.destroy_all()
    assert left_over(run_id) == []


def impairments(lab: LabRecord, endpoint: LinkEndpoint = LEFT) -> dict[str, str]:
    (found,) = (
        way for way in live.show_impairments(lab, link=str(endpoint)) if way.endpoint == str(endpoint)
    )
    return found.impairments.to_mapping()


def begin(lab: LabRecord, *words: str, lasts: str | None = None) -> int:
    value, duration = read_words(words[0], list(words[1:]), lasts)
    number, _ = asyncio.run(live_faults.begin(lab, words[0], value, duration))
    return number


def actions(lab: LabRecord) -> list[str]:
    return [entry.action for entry in fault_book.read(lab.run_id).entries]


def await_none(lab: LabRecord) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while actions(lab):
        assert time.monotonic() < deadline, "it does not end by itself"
        time.sleep(0.1)


def state_of(lab: LabRecord, node: str) -> str:
    return next(found.state for found in asyncio.run(live.inspect(lab)) if found.name == node)


def test_action_ends_by_itself_whatever_became_of_the_command_and_of_the_link(up: LabRecord) -> None:
    before = impairments(up)
    said = narrows("fault", "cut", "left:eth1", "--for", "3s", "-f", "json")
    assert said.json() == {"fault": 1, "action": "cut", "detail": ""}, said.stderr
    assert impairments(up)["loss"] == "100%"
    with pytest.raises(BackendError, match="is held by fault 1 \\(cut\\): clear it first"):
        begin(up, "cut", "left:eth1")
    # Below the cut, which goes on.
    changed = asyncio.run(live_faults.set_impairments(up, LEFT, {"delay": "33ms"}))
    assert changed.to_mapping()["loss"] == "100%"
    await_none(up)
    assert impairments(up) == {**before, "delay": "33ms"}


def test_action_whose_ender_was_killed_is_overdue_and_can_be_cleared(up: LabRecord) -> None:
    before = impairments(up)
    number = begin(up, "cut", "left:eth1", lasts="1s")
    (pid,) = (
        entry.number("pid")
        for entry in read_entries(up.run_id)
        if entry.kind == "process" and entry.text("what") == f"expiry of fault {number}"
    )
    os.kill(pid, signal.SIGKILL)
    (entry,) = fault_book.read(up.run_id).entries
    assert entry.until is not None
    time.sleep(max(0, entry.until - time.monotonic_ns()) / SECOND + 0.01)
    assert entry.overdue
    assert impairments(up)["loss"] == "100%"
    assert [found.id for found in asyncio.run(live_faults.end(up))] == [number]
    assert impairments(up) == before
    assert not actions(up)


def test_nodes_crash_and_come_back_pause_and_go_on(up: LabRecord) -> None:
    begin(up, "crash", "left")
    assert state_of(up, "left") == "silent"
    assert actions(up) == ["crash"]
    begin(up, "restart", "left")
    assert not actions(up)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while state_of(up, "left") != "running":
        assert time.monotonic() < deadline, "it does not come back"
    begin(up, "pause", "left", lasts="1ms")
    await_none(up)
    assert state_of(up, "left") == "running"
    number = begin(up, "rebind", "left", "port=true")
    assert not actions(up)
    with pytest.raises(BackendError, match=f"no fault {number} is on"):
        asyncio.run(live_faults.end(up, [number]))


@pytest.mark.any_kernel
def test_words_that_make_no_action_are_a_usage_error_with_advice(up: LabRecord) -> None:
    for words, said in (
        (["cutt", "left"], "did you mean 'cut'?"),
        (["cut", "nobody"], "no link ends at 'nobody'"),
        (["cut", "left", "--for", "5"], "'5' has no unit"),
        (["heal", "left", "--for", "5s"], "take --for out"),
        (["flap", "left", "down=1s", "up=1s"], "add --for 5s"),
        (["clear", "x"], "must be the number of a fault"),
    ):
        ended = narrows("fault", *words)
        assert ended.code == 2, ended.stderr
        assert said in ended.stderr
    assert not actions(up)
