"""The timeline on virtual time: everything at its exact instant, and the lab as it was afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.results import Verdict
from tests.support.experiments import LINE, event_of, flow_of, happened, simulate

FILM = """
workloads:
  film: {kind: bulk, from: a, to: b, size: 2MB}
"""


def test_everything_happens_at_its_exact_time_in_order_of_time(tmp_path: Path) -> None:
    timeline = """
timeline:
  - {at: 900ms, set: {link: "a:eth1", netem: {delay: 30ms}}, for: 100ms}
  - {at: 100ms, cut: ["b:eth1"], for: 50ms}
  - {at: 500ms, partition: [[a], [b]], for: 20ms}
  - {at: 600ms, flap: {link: r, down: 10ms, up: 10ms}, for: 35ms}
  - {at: 1100ms, one-way-cut: "b:eth1"}
  - {at: 1150ms, heal: "b:eth1"}
  - {at: 1200ms, disable: {link: "b:eth1", netem: [rate]}, for: 50ms}
  - {at: 50s, heal: r}
"""
    with pytest.raises(Exception, match="nothing is cut at r"):
        simulate(LINE + FILM + timeline, tmp_path)
    result = simulate(LINE + FILM + timeline.replace("50s, heal: r", "50s, cut: r"), tmp_path)
    assert result.verdict is Verdict.PASS, result.reasons
    assert happened(result) == [
        (0.1, "cut", "begins", "done"),
        (0.15, "cut", "ends", "done"),
        (0.5, "partition", "begins", "done"),
        (0.52, "partition", "ends", "done"),
        (0.6, "flap", "begins", "done"),
        (0.61, "flap", "ends", "done"),
        (0.62, "flap", "begins", "done"),
        (0.63, "flap", "ends", "done"),
        (0.9, "set", "begins", "done"),
        (1.0, "set", "ends", "done"),
        (1.1, "one-way-cut", "begins", "done"),
        (1.15, "heal", "begins", "done"),
        (1.2, "disable", "begins", "done"),
        (1.25, "disable", "ends", "done"),
        (-1, "cut", "begins", "not reached"),
    ]


def test_same_seed_same_run_with_faults(tmp_path: Path) -> None:
    faults = """
timeline:
  - {at: 200ms, cut: r, for: 100ms, every: 400ms, count: 3}
  - {at: 300ms, pause: b, for: 50ms}
  - {at: 500ms, set: {link: "a:eth1", netem: {loss: 3%}}}
"""
    first, second = (simulate(LINE + FILM + faults, tmp_path) for _ in range(2))
    assert flow_of(first).seconds == flow_of(second).seconds > 2
    assert flow_of(first).packets_lost == flow_of(second).packets_lost > 0
    assert happened(first) == happened(second)


def test_cut_loses_everything_both_ways_and_then_nothing(tmp_path: Path) -> None:
    def seconds(timeline: str) -> float:
        return flow_of(simulate(LINE + FILM + timeline, tmp_path)).seconds

    undisturbed = seconds("")
    assert seconds("timeline: [{at: 1s, cut: r, for: 1s}]") > undisturbed + 1
    # What was lost on the way cannot have been much more: the link is as it was.
    assert seconds("timeline: [{at: 1s, cut: r, for: 1s}]") < undisturbed + 2.5


def test_crash_of_the_target_resets_the_source_once_it_is_back(tmp_path: Path) -> None:
    result = simulate(LINE + FILM + "timeline: [{at: 1s, crash: b, for: 500ms}]", tmp_path)
    flow = flow_of(result)
    assert result.verdict is Verdict.FAIL
    assert not flow.completed
    assert "node b crashed at 1 s, as the timeline says; a: " in flow.error
    assert "the peer has forgotten the connection" in flow.error
    assert event_of(result, "crash", "ends").at == 1_500_000_000
    assert result.duration < 5_000_000_000


def test_flow_that_may_restart_starts_anew_and_completes(tmp_path: Path) -> None:
    flows = FILM.replace("size: 2MB", "size: 2MB, on-crash: restart")
    for node in ("a", "b"):
        faults = f"timeline: [{{at: 1s, crash: {node}}}, {{at: 2s, restart: {node}}}]"
        result = simulate(LINE + flows + faults, tmp_path, capture=True)
        assert result.verdict is Verdict.PASS, result.reasons
        assert flow_of(result).restarts == 1
        assert flow_of(result).intact
        assert 3 < result.duration / 1e9 < 8


def test_router_that_crashes_is_a_gap_and_no_more(tmp_path: Path) -> None:
    result = simulate(LINE + FILM + "timeline: [{at: 1s, crash: r, for: 700ms}]", tmp_path)
    assert result.verdict is Verdict.PASS, result.reasons
    assert flow_of(result).seconds > 2.3


def test_paused_node_goes_on_where_it_was(tmp_path: Path) -> None:
    result = simulate(LINE + FILM + "timeline: [{at: 1s, pause: b}, {at: 3s, restart: b}]", tmp_path)
    assert result.verdict is Verdict.PASS, result.reasons
    assert flow_of(result).seconds > 3
    assert flow_of(result).restarts == 0


def test_flow_that_the_timeline_starts_and_stops(tmp_path: Path) -> None:
    flows = FILM + "  noise: {kind: bulk, from: b, to: a, size: 100MB}\n"
    result = simulate(LINE + flows + "timeline: [{at: 500ms, start: noise}, {at: 1s, stop: noise}]", tmp_path)
    assert result.verdict is Verdict.PASS, result.reasons
    noise = flow_of(result, "noise")
    assert noise.stopped
    assert not noise.completed
    assert 100_000 < noise.bytes < 700_000


def test_action_that_fails_fails_the_run_with_its_reason(tmp_path: Path) -> None:
    # 20 ms of jitter need a delay, and at 1 s there is none.
    faults = """
timeline:
  - {at: 1s, set: {link: "a:eth1", netem: {delay: none}}}
  - {at: 1500ms, set: {link: "a:eth1", netem: {jitter: 20ms}}}
"""
    result = simulate(LINE + FILM + faults, tmp_path)
    assert result.verdict is Verdict.FAIL
    (reason,) = result.reasons
    assert reason.startswith("timeline, 1500ms: set a:eth1: jitter 20ms")
    assert "did not begin" in reason
    assert "jitter" in reason
    assert event_of(result, "set").outcome == "done"


def test_lab_without_flows_runs_for_its_timeline(tmp_path: Path) -> None:
    result = simulate(LINE + "timeline: [{at: 1s, cut: r, for: 9s}]", tmp_path)
    assert result.verdict is Verdict.PASS, result.reasons
    assert [event[0] for event in happened(result)] == [1, 10]
