"""The walk of kills cleans up after itself too: also where a verb takes longer than it may."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.wiring.journal import run_ids
from tests.netns.kill_walk import Walk, WalkError
from tests.netns.labs import left_over

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def test_verb_that_outlasts_its_time_leaves_no_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk's state directory goes with the walk: after it, nobody could destroy the lab by its journal."""
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    # As long as no orchestrator needs to begin with its lab, and too short for any to end.
    patience = 0.8
    found: list[str] = []
    while not found:
        with Walk(tmp_path, "1", patience=patience) as walk:
            with pytest.raises(WalkError, match="outlasted"):
                walk.round()
            found = run_ids()
        patience *= 1.25
        assert patience < 10, "no verb was cut short while it had a lab"
    assert [thing for run_id in found for thing in left_over(run_id)] == []
    assert list((tmp_path / "state").glob("*")) == []
