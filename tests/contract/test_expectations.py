"""Every kind of expectation that a topology can name is measured, and nothing else is."""

from __future__ import annotations

import pytest

from orchestrator.experiment.expectations import FLOW_MEASURES, RUN_MEASURES, judge
from orchestrator.topology.expectations import EXPECTATION_KINDS, parse_expectation
from tests.support.results import flow, wire

_VALUES = {"ns": "1ms", "bit/s": "1Mbit", "ratio": "1%", "count": "0", "ok": "ok"}


@pytest.mark.parametrize("name", EXPECTATION_KINDS)
def test_kind_is_measured_where_it_says(name: str) -> None:
    per_flow = EXPECTATION_KINDS[name].per_flow
    assert (name in FLOW_MEASURES) == per_flow
    assert (name in RUN_MEASURES) == (not per_flow)


def test_nothing_is_measured_that_cannot_be_written() -> None:
    assert {*FLOW_MEASURES, *RUN_MEASURES} == set(EXPECTATION_KINDS)


@pytest.mark.parametrize("name", EXPECTATION_KINDS)
def test_each_operator_gives_a_result_that_can_be_shown(name: str) -> None:
    kind = EXPECTATION_KINDS[name]
    workload = kind.workloads[0] if kind.workloads else "bulk"
    ranks = dict.fromkeys(("min", "p50", "p90", "p99", "max"), 1.0)
    good = flow(workload=workload, measured={"rtt_ms": ranks, "latency_ms": ranks, "round_ms": ranks})
    for operator in kind.operators:
        expectation = parse_expectation(f"{name} {operator} {_VALUES[kind.unit]}", None)
        (result,) = judge([expectation], [good], wire())
        assert result.measured is not None
        assert result.shown
        assert result.text == expectation.text


@pytest.mark.parametrize("name", FLOW_MEASURES)
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
