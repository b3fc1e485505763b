"""Real packets over links that mark: by the relay where the kernel has no netem, else by the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import ecn_marks

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))


def test_agents_receive_the_marks_of_a_link_and_report_them(tmp_path: Path) -> None:
    marked = ecn_marks.flow("threshold", "cubic", "netns", tmp_path, capture=True)
    assert marked.intact
    assert marked.marks > 0
    assert marked.violations == 0
