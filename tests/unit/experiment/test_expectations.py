"""Expectations are judged by what was measured, both sides of each bound."""

from __future__ import annotations

import pytest

from orchestrator.errors import ExpectationError
from orchestrator.experiment.expectations import NOT_COMPLETED, judge
from orchestrator.results import ExpectationResult, FlowResult
from orchestrator.topology.expectations import parse_expectation
from tests.support.results import SUM, flow, wire


def judged(text: str, *flows: FlowResult, of: str | None = None) -> list[ExpectationResult]:
    return list(judge([parse_expectation(text, of)], flows or (flow(),), wire()))


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("completion <= 2s", True),
        ("completion <= 1999ms", False),
        ("completion >= 2s", True),
        ("goodput >= 4Mbit", True),
        ("goodput >= 4001kbit", False),
        ("rtt <= 20500us", True),
        ("rtt <= 20499us", False),
        ("loss <= 1%", True),
        ("loss <= 0.99%", False),
        ("retransmissions <= 1.2%", True),
        ("retransmissions <= 1.1%", False),
        ("integrity == ok", True),
    ],
)
def test_bound_itself_is_allowed_and_the_next_value_is_not(text: str, passed: bool) -> None:
    assert [result.passed for result in judged(text)] == [passed]


def test_expectation_of_all_flows_is_judged_for_each_flow() -> None:
    results = judged("integrity == ok", flow(name="a"), flow(name="b", sha256="00"))
    assert [(result.flow, result.passed) for result in results] == [("a", True), ("b", False)]


def test_expectation_of_one_flow_leaves_the_others_alone() -> None:
    results = judged("completion <= 3s", flow(name="a"), flow(name="b", seconds=9.0), of="a")
    assert [(result.flow, result.passed) for result in results] == [("a", True)]


def test_flow_that_did_not_complete_misses_what_cannot_be_measured() -> None:
    (result,) = judged("completion <= 1h", flow(completed=False, sha256=""))
    assert not result.passed
    assert result.measured is None
    assert result.shown == NOT_COMPLETED


def test_two_empty_sums_are_not_integrity() -> None:
    (result,) = judged("integrity == ok", flow(sha256="", source_sha256=""))
    assert not result.passed


def test_ranks_of_round_trips_are_an_echo_flows_own_or_the_transports() -> None:
    counted = {"source": {"rtt_quantiles": {"p90": 31_000_000}}, "target": {}}
    ping = flow(name="ping", workload="echo", measured={"rtt_ms": {"p90": 30.0}}, statistics=counted)
    film, beacon = flow(name="film", statistics=counted), flow(name="beacon", workload="datagrams")
    over_tcp = flow(name="tcp", statistics={"source": {"rtt_quantiles": {}}, "target": {}})
    results = judged("rtt p90 <= 30ms", film, ping, beacon, over_tcp)
    assert [(result.flow, result.passed, result.measured) for result in results] == [
        ("film", False, 31e6),
        ("ping", True, 30e6),
        ("tcp", False, None),
    ]


def test_loss_of_datagrams_is_what_their_target_missed() -> None:
    beacon = flow(workload="datagrams", packets_sent=0, measured={"sent": 200, "lost": 3})
    assert [result.measured for result in judged("loss <= 2%", beacon)] == [0.015]
    assert judged("rtt <= 1s", beacon) == judged("retransmissions <= 1%", beacon) == []


def test_violations_are_counted_for_the_run() -> None:
    expectation = parse_expectation("wire violations == 0", None)
    assert [r.passed for r in judge([expectation], (), wire(violations=0))] == [True]
    assert [r.passed for r in judge([expectation], (), wire(violations=1))] == [False]


def test_wire_that_was_not_checked_is_not_clean() -> None:
    expectation = parse_expectation("wire violations == 0", None)
    (result,) = judge([expectation], (), wire(frames=0, checked=False))
    assert not result.passed


def test_unknown_flow_is_an_error() -> None:
    with pytest.raises(ExpectationError, match="no flow is called 'song'"):
        judged("completion <= 3s", of="song")


def test_sums_are_equal_only_if_both_are_there() -> None:
    assert flow().intact
    assert not flow(sha256="").intact
    assert not flow(source_sha256=SUM[::-1]).intact
