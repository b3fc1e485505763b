"""Every kind of expectation that a topology can name is measured, and nothing else is."""

from __future__ import annotations

import dataclasses

import pytest

from orchestrator.experiment.expectations import judge
from orchestrator.experiment.measures import (
    COUNTER_MEASURES,
    FLOW_MEASURES,
    FLOWS_MEASURES,
    LINK_MEASURES,
    RUN_MEASURES,
    WIRE_FACTS,
)
from orchestrator.results import FlowResult, LinkResult, TimelineResult
from orchestrator.topology.expectations import EXPECTATION_KINDS, Subject, parse_expectation
from tests.support.results import flow, wire

_VALUES = {
    "ns": "1ms",
    "bit/s": "1Mbit",
    "ratio": "1%",
    "count": "0",
    "bytes": "1B",
    "number": "0.5",
    "ok": "ok",
}
_COUNTERS = {"a:eth1": {"overflowed": 3}}
_MEASURES = {
    Subject.FLOW: FLOW_MEASURES,
    Subject.FLOWS: FLOWS_MEASURES,
    Subject.LINK: {**LINK_MEASURES, **COUNTER_MEASURES},
    Subject.RUN: RUN_MEASURES,
}
_COUNTS = (
    *(
        "probe_timeouts",
        "duplicate_packets",
        "late_packets",
        "spurious_losses",
        "integrity_failures",
        "fec_packets_recovered",
        "key_updates",
    ),
    *("path_changes", "ecn_ce", "datagram_size"),
)
_LINK = LinkResult("a:eth1--b:eth1", "a:eth1", "b:eth1", frames_in=10, frames_out=9, utilisation=0.5)
_CHECKED = dataclasses.replace(wire(), facts=dict.fromkeys(WIRE_FACTS, 1.0))
_DONE = TimelineResult(0, 0, "cut", "a:eth1", "begins", "done", "")


def good(kind: str) -> FlowResult:
    """Return a flow that went well, of a workload that has what the kind is about."""
    ranks = dict.fromkeys(("min", "p50", "p90", "p99", "max"), 1.0)
    counted: dict[str, object] = {**dict.fromkeys(_COUNTS, 1), "ecn_state": "capable"}
    return flow(
        workload=(EXPECTATION_KINDS[kind].workloads or ("bulk",))[0],
        measured={
            "rtt_ms": ranks,
            "latency_ms": ranks,
            "round_ms": ranks,
            "messages": 2,
            "delivered": 1,
            "expired": 1,
            "duplicates": 0,
            "late": 0,
        },
        statistics={"source": counted, "target": counted},
    )


@pytest.mark.parametrize("name", EXPECTATION_KINDS)
def test_kind_is_measured_where_it_says_and_nowhere_else(name: str) -> None:
    of = EXPECTATION_KINDS[name].subject
    assert [subject for subject, measures in _MEASURES.items() if name in measures] == [of]


def test_nothing_is_measured_that_cannot_be_written() -> None:
    assert {name for measures in _MEASURES.values() for name in measures} == set(EXPECTATION_KINDS)


@pytest.mark.parametrize("name", EXPECTATION_KINDS)
def test_each_operator_gives_a_result_that_can_be_shown(name: str) -> None:
    kind = EXPECTATION_KINDS[name]
    for operator in kind.operators:
        expectation = parse_expectation(f"{name} {operator} {_VALUES[kind.unit]}", None)
        (result,) = judge([expectation], [good(name)], _CHECKED, [_LINK], [_DONE], _COUNTERS)
        assert result.measured is not None
        assert result.shown
        assert result.text == expectation.text


@pytest.mark.parametrize("name", [*FLOW_MEASURES, *FLOWS_MEASURES])
def test_flow_that_failed_at_once_never_passes_by_default(name: str) -> None:
    """A flow of which nothing is known must not meet an upper bound by having measured nothing."""
    dead = flow(
        completed=False,
        sha256="",
        source_sha256="",
        bytes=0,
        seconds=0.0,
        bits_per_second=0.0,
        packets_sent=0,
        packets_lost=0,
        retransmitted_packets=0,
        rtt_ms=0.0,
        workload=(EXPECTATION_KINDS[name].workloads or ("bulk",))[0],
    )
    for operator in EXPECTATION_KINDS[name].operators:
        expectation = parse_expectation(f"{name} {operator} {_VALUES[EXPECTATION_KINDS[name].unit]}", None)
        (result,) = judge([expectation], [dead], wire())
        assert not result.passed


@pytest.mark.parametrize("name", [kind.name for kind in EXPECTATION_KINDS.values() if kind.from_captures])
def test_what_captures_tell_is_not_met_without_them(name: str) -> None:
    kind = EXPECTATION_KINDS[name]
    for operator in kind.operators:
        expectation = parse_expectation(f"{name} {operator} {_VALUES[kind.unit]}", None)
        (result,) = judge([expectation], [flow()], wire(frames=0, checked=False))
        assert not result.passed
