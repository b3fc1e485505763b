"""Whatever becomes of the orchestrator, its containers can be removed from the journal and their labels."""

from __future__ import annotations

import os
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.containers.engine import connected
from orchestrator.containers.nodes import remove_labelled
from orchestrator.images import BASE_IMAGE, RUN_LABEL
from orchestrator.wiring import cleanup
from orchestrator.wiring.journal import run_ids
from tests.netns.labs import PATIENCE_SECONDS, left_over, new_run_id
from tests.netns.orchestrate import await_line, orchestrate
from tests.support.command import narrows

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.slow]

#: Each takes as long as a lab of containers; more kills come from the environment, for a night's run.
KILLS = int(os.environ.get("NARROWS_KILLS", "1"))
#: Without that number, the stage at which most is half made.
STAGES = ("rising", "attached", "destroying") if "NARROWS_KILLS" in os.environ else ("rising",)
#: A lab of three containers comes up in about three seconds, and is removed in one, on a machine of its own.
LONGEST_RISE_SECONDS = 4.0
LONGEST_REMOVAL_SECONDS = 2.0


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_left_after_a_kill_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, number: int
) -> None:
    """Whoever cleans up: ``destroy --all`` or ``gc``."""
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    run_id, chance, before = new_run_id(), random.Random(f"{stage}/{number}"), on_this_machine()
    mode = "destroying" if stage == "destroying" else "attached"
    with orchestrate(run_id, tmp_path / "run", mode, backend="docker") as process:
        if stage == "rising":
            while not run_ids():
                assert process.poll() is None
                time.sleep(0.01)
            time.sleep(chance.uniform(0, LONGEST_RISE_SECONDS))
        else:
            assert await_line(process) == "up"
            time.sleep(chance.uniform(0, LONGEST_REMOVAL_SECONDS))
    if chance.random() < 0.5:
        cleanup.destroy_all()
    else:
        collected = narrows("gc")
        assert collected.code == 0, collected.stderr
    assert left_over(run_id) == []
    assert list((tmp_path / "state").glob("*")) == []
    assert labelled(run_id) == []
    # The kernel takes interfaces apart, and the engine its shims, a moment after they are told.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (more := on_this_machine() - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not more
    assert cleanup.destroy_all().removed == ()


def test_containers_that_somebody_else_is_removing_are_waited_for() -> None:
    """The engine goes on removing for one that was killed, and refuses a second request for the same."""
    run_id, together = new_run_id(), 8
    with connected() as engine:
        for _ in range(2):
            engine.containers.run(
                BASE_IMAGE, ["sleep", "60"], labels={RUN_LABEL: run_id}, network_mode="none", detach=True
            )
    with ThreadPoolExecutor(together) as pool:
        for removal in [pool.submit(remove_labelled, run_id) for _ in range(together)]:
            removal.result()
            assert labelled(run_id) == []


def labelled(run_id: str) -> list[str]:
    """The containers of a run, whether they run or not."""
    with connected() as engine:
        found = engine.containers.list(all=True, filters={"label": f"{RUN_LABEL}={run_id}"}, sparse=True)
        return [str(container.id) for container in found]


def on_this_machine() -> set[str]:
    """What carries no mark of its run: interfaces outside of labs, networks of the engine, its processes."""
    found = {f"interface {name}" for _, name in socket.if_nameindex()}
    with connected() as engine:
        found |= {f"network {network.name}" for network in engine.networks.list()}
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            contained = "/docker/" in Path("/proc", pid, "cgroup").read_text()
            command = Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended
        if contained or "containerd-shim" in command:
            found.add(f"process {pid}: {command:.100}")
    return found
