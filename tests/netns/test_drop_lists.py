"""Packets lost by their number, real ones: numbers count from the run's start, not from the lab's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import drop_lists

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def test_exactly_the_listed_packets_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    drop_lists.check(drop_lists.run("netns", tmp_path))
