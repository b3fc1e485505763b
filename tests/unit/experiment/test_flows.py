"""What nodes report becomes the state, the figures and the result of each flow."""

from __future__ import annotations

import dataclasses

from node.control.messages import NodeEvent
from node.links.settings import NONE
from orchestrator.experiment.flows import FlowTracker
from orchestrator.experiment.progress import FlowState
from orchestrator.topology.planning import make_plan
from tests.support.topologies import bulk, line, line_topology

SUM, OTHER_SUM = "ab" * 32, "cd" * 32


def tracker(*names: str) -> FlowTracker:
    flows = tuple(bulk(1000, name=name) for name in names or ("file",))
    return FlowTracker(make_plan(line_topology(NONE, flows=flows)))


def started(flow: str = "file") -> NodeEvent:
    return NodeEvent("a", "flow_started", 0, {"flow": flow, "role": "source"})


def finished(role: str, *, ok: bool = True, sha256: str = SUM, error: str = "") -> NodeEvent:
    data: dict[str, object] = {
        "flow": "file",
        "role": role,
        "ok": ok,
        "error": error,
        "bytes": 1000,
        "sha256": sha256,
        "seconds": 2.0,
        "statistics": {"packets_sent": 10, "packets_lost": 1, "smoothed_rtt": 3_000_000},
    }
    return NodeEvent("a" if role == "source" else "b", "flow_finished", 0, data)


def test_flow_is_over_when_both_ends_are() -> None:
    tracked = tracker()
    tracked.on_event(started())
    tracked.on_event(finished("target"))
    assert not tracked.all_over.is_set()
    tracked.on_event(finished("source"))
    assert tracked.all_over.is_set()
    (result,) = tracked.results()
    assert result.completed
    assert result.intact
    assert (result.bytes, result.bits_per_second, result.rtt_ms) == (1000, 4000.0, 3.0)


def test_flow_is_over_when_one_end_failed() -> None:
    tracked = tracker()
    tracked.on_event(finished("target", ok=False, sha256="", error="the disk is full"))
    assert tracked.all_over.is_set()
    assert tracked.results()[0].error == "b: the disk is full"


def test_first_reason_is_the_one_told() -> None:
    tracked = tracker()
    tracked.on_event(finished("target", ok=False, sha256="", error="the disk is full"))
    tracked.on_event(finished("source", ok=False, sha256="", error="the peer closed"))
    assert tracked.results()[0].error == "b: the disk is full"


def test_damage_that_slipped_through_is_a_difference_not_a_failure_of_the_flow() -> None:
    tracked = tracker()
    tracked.on_event(finished("target", sha256=OTHER_SUM))
    tracked.on_event(finished("source", ok=False, error="the target has other bytes"))
    (result,) = tracked.results()
    assert result.completed
    assert not result.intact


def test_progress_comes_from_the_source() -> None:
    tracked = tracker()
    figures = {"flow": "file", "bytes": 400, "bytes_total": 1000, "rtt_ms": 5.0, "congestion_window": 12}
    tracked.on_event(NodeEvent("a", "flow_progress", 0, figures))
    tracked.on_event(NodeEvent("b", "flow_progress", 0, {**figures, "bytes": 300}))
    (shown,) = tracked.progress()
    assert (shown.state, shown.bytes, shown.ratio, shown.window) == (FlowState.RUNNING, 400, 0.4, 12)


def test_node_that_is_gone_fails_its_flows() -> None:
    tracked = tracker("one", "two")
    tracked.on_event(started("one"))
    assert tracked.running_nodes() == ["a", "b"]
    tracked.fail_node("b", "node b failed")
    assert tracked.unfinished() == []
    assert [result.error for result in tracked.results()] == ["node b failed"] * 2


def test_flow_that_is_over_stays_as_it_ended() -> None:
    tracked = tracker()
    tracked.on_event(finished("source"))
    tracked.on_event(finished("target"))
    tracked.fail_all("the time limit has passed")
    assert tracked.results()[0].completed


def test_no_flows_are_over_at_once() -> None:
    assert FlowTracker(line(NONE)).all_over.is_set()


def test_events_of_unknown_flows_are_ignored() -> None:
    tracked = tracker()
    tracked.on_event(started("other"))
    tracked.on_event(NodeEvent("a", "ready", 0, {}))
    assert tracked.unfinished() == ["file"]


def test_a_flow_that_never_ended_shows_the_packets_it_was_last_known_to_have_sent() -> None:
    tracked = tracker()
    tracked.on_event(started())
    data = {"flow": "file", "role": "source", "bytes": 7, "packets_sent": 12, "packets_lost": 2}
    tracked.on_event(NodeEvent("a", "flow_progress", 1, data))
    (result,) = tracked.results()
    assert (result.completed, result.packets_sent, result.packets_lost) == (False, 12, 2)


def crashing(*, restarts: bool) -> FlowTracker:
    flow = dataclasses.replace(bulk(1000), restarts=restarts)
    tracked = FlowTracker(make_plan(line_topology(NONE, flows=(flow,))))
    tracked.on_event(started())
    tracked.on_crash("b", "b crashed")
    return tracked


def test_flow_of_a_node_that_crashed_on_purpose_fails_with_both_reasons() -> None:
    tracked = crashing(restarts=False)
    assert not tracked.all_over.is_set()
    tracked.on_event(finished("source", ok=False, sha256="", error="the peer has forgotten"))
    assert tracked.results()[0].error == "b crashed; a: the peer has forgotten"


def test_flow_both_of_whose_ends_crashed_is_over_at_once() -> None:
    tracked = crashing(restarts=False)
    tracked.on_crash("a", "a crashed")
    assert tracked.all_over.is_set()
    assert tracked.results()[0].error.startswith("b crashed; a crashed; ")


def test_flow_that_starts_anew_forgets_what_its_ends_said_before() -> None:
    tracked = crashing(restarts=True)
    tracked.on_event(finished("source", ok=False, sha256="", error="the peer has forgotten"))
    assert tracked.state("file") is FlowState.WAITING
    assert tracked.waiting_for("b") == ["file"]
    tracked.restart("file", now=5)
    # Still of the attempt before: it happened at 0.
    tracked.on_event(finished("target", ok=False, sha256="", error="stopped by command"))
    assert not tracked.all_over.is_set()
    for role in ("target", "source"):
        tracked.on_event(dataclasses.replace(finished(role), time=9))
    (result,) = tracked.results()
    assert result.completed
    assert result.restarts == 1


def test_flow_that_is_never_restarted_fails_at_the_time_limit() -> None:
    tracked = crashing(restarts=True)
    tracked.fail_all("did not complete")
    assert tracked.results()[0].error == "b crashed; did not complete"


def test_stopped_flow_is_over_and_no_second_stop_counts() -> None:
    tracked = tracker()
    tracked.on_event(started())
    assert tracked.stop("file")
    assert not tracked.stop("file")
    tracked.on_event(finished("source", ok=False, sha256="", error="stopped by command"))
    (result,) = tracked.results()
    assert result.stopped
    assert not result.completed
    assert result.error == "stopped by the timeline"
