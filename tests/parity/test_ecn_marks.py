"""Real agents over links that the kernel's own queues mark: the marks arrive, and every controller reacts."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.protocol.congestion.base import CONTROLLERS
from tests.support import ecn_marks

pytestmark = [pytest.mark.netem, pytest.mark.timetravel]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))


@pytest.mark.parametrize("congestion", CONTROLLERS.names())
def test_a_flow_over_a_kernel_that_marks_spares_its_queue(congestion: str, tmp_path: Path) -> None:
    for kind in ("threshold", "codel"):
        marked = ecn_marks.flow(kind, congestion, "netns", tmp_path)
        assert marked.impairment == "kernel"
        ecn_marks.check(marked)
