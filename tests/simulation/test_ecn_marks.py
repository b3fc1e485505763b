"""Links that mark: the marks are in the packets, agents report them, and every controller reacts."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.protocol.congestion.base import CONTROLLERS
from orchestrator.pytest_plugin import Lab
from tests.support import ecn_marks


@pytest.mark.parametrize("congestion", CONTROLLERS.names())
@pytest.mark.parametrize("kind", ["threshold", "codel"])
def test_a_flow_hears_marks_and_spares_the_queue(kind: str, congestion: str, tmp_path: Path) -> None:
    marked = ecn_marks.flow(kind, congestion, "simulation", tmp_path)
    ecn_marks.check(marked)


def test_without_marks_the_queue_fills(tmp_path: Path) -> None:
    plain = ecn_marks.flow("nothing", "cubic", "simulation", tmp_path)
    assert plain.marks == 0
    assert plain.lost > 0 or plain.rtt_ms > 150


@pytest.mark.topology(ecn_marks.topology("threshold", "cubic"))
@pytest.mark.backends("simulation", "netns")
def test_the_wire_probe_finds_nothing_wrong_with_marked_packets(lab: Lab) -> None:
    """In namespaces by the relay where the kernel has no netem, else by the kernel."""
    marked = ecn_marks.met(lab.run())
    assert marked.intact
    assert marked.marks > 0
    assert marked.violations == 0
    if lab.backend == "simulation":
        # Agents that get no CPU fill a real queue and lose packets, marks or not.
        ecn_marks.check(marked)
