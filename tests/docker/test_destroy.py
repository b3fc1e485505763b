"""Whatever becomes of the orchestrator, its containers can be removed from the journal and their labels."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import docker
import pytest

from orchestrator.images import RUN_LABEL
from orchestrator.wiring import cleanup
from orchestrator.wiring.journal import run_ids
from tests.netns.labs import left_over, new_run_id
from tests.netns.orchestrate import await_line, orchestrate

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.slow]

#: Each takes as long as a lab of containers; more kills come from the environment, for a night's run.
KILLS = int(os.environ.get("NARROWS_KILLS", "1"))
#: A lab of three containers comes up in about three seconds, and is removed in one, on a machine of its own.
LONGEST_RISE_SECONDS = 4.0
LONGEST_REMOVAL_SECONDS = 2.0


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("stage", ["rising", "attached", "destroying"])
def test_nothing_is_left_after_a_kill_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, number: int
) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    run_id, chance = new_run_id(), random.Random(f"{stage}/{number}")
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
    cleanup.destroy_all()
    assert left_over(run_id) == []
    assert list((tmp_path / "state").glob("*")) == []
    engine = docker.from_env()
    try:
        assert engine.containers.list(all=True, filters={"label": f"{RUN_LABEL}={run_id}"}) == []
    finally:
        engine.close()
    assert cleanup.destroy_all().removed == ()
