"""Judges a run by its topology's expectations: one measure for each kind that can be written there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from node.protocol.time import MILLISECOND, SECOND
from orchestrator.errors import ExpectationError
from orchestrator.results import ExpectationResult, FlowResult, WireResult
from orchestrator.topology.expectations import AT_LEAST, AT_MOST, EQUAL, EXPECTATION_KINDS, OK
from orchestrator.topology.model import Expectation

#: What cannot be measured, and why.
NOT_COMPLETED = "the flow did not complete"
NOT_MEASURED = "nothing was measured"


def judge(
    expectations: Iterable[Expectation], flows: Iterable[FlowResult], wire: WireResult
) -> tuple[ExpectationResult, ...]:
    """Return whether each expectation held; one that is about all flows is judged for each of them.

    Raises:
        ExpectationError: an expectation names a flow or a kind that there is not.
    """
    by_name = {flow.name: flow for flow in flows}
    return tuple(result for expectation in expectations for result in _judge(expectation, by_name, wire))


def _judge(
    expectation: Expectation, flows: Mapping[str, FlowResult], wire: WireResult
) -> Iterator[ExpectationResult]:
    run_measure = RUN_MEASURES.get(expectation.kind)
    if run_measure is not None:
        yield _compare(expectation, None, run_measure(wire), "not checked")
        return
    measure = FLOW_MEASURES.get(expectation.kind)
    if measure is None:
        raise ExpectationError(f"nothing measures {expectation.kind!r}")
    names = [expectation.flow] if expectation.flow is not None else list(flows)
    applies_to = EXPECTATION_KINDS[expectation.kind].workloads
    for name in names:
        if name not in flows:
            raise ExpectationError(f"{expectation.text}: no flow is called {name!r}")
        flow = flows[name]
        if expectation.flow is None and applies_to and flow.workload not in applies_to:
            continue
        missing = NOT_MEASURED if flow.completed else NOT_COMPLETED
        yield _compare(expectation, name, measure(flow), missing)


def _compare(
    expectation: Expectation, flow: str | None, measured: float | None, missing: str
) -> ExpectationResult:
    if measured is None:
        return ExpectationResult(expectation.text, flow, passed=False, measured=None, shown=missing)
    passed = OPERATORS[expectation.operator](measured, expectation.value)
    shown = _SHOW[EXPECTATION_KINDS[expectation.kind].unit](measured)
    return ExpectationResult(expectation.text, flow, passed=passed, measured=measured, shown=shown)


OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    AT_MOST: lambda measured, bound: measured <= bound,
    AT_LEAST: lambda measured, bound: measured >= bound,
    EQUAL: lambda measured, bound: measured == bound,
}


def _completion(flow: FlowResult) -> float | None:
    return flow.seconds * SECOND if flow.completed else None


def _goodput(flow: FlowResult) -> float | None:
    return flow.bits_per_second if flow.completed else None


def _rtt(flow: FlowResult) -> float | None:
    return flow.rtt_ms * MILLISECOND if flow.rtt_ms > 0 else None


def _rank(flow: FlowResult, *, of: str, rank: str) -> float | None:
    ranks = flow.measured.get(of)
    value = ranks.get(rank) if isinstance(ranks, Mapping) else None
    return float(value) * MILLISECOND if isinstance(value, int | float) else None


def _loss(flow: FlowResult) -> float | None:
    sent, lost = flow.measured.get("sent"), flow.measured.get("lost")
    if isinstance(sent, int) and isinstance(lost, int):  # datagrams: what their target missed
        return lost / sent
    return flow.packets_lost / flow.packets_sent if flow.packets_sent else None


def _retransmissions(flow: FlowResult) -> float | None:
    return flow.retransmitted_packets / flow.packets_sent if flow.packets_sent else None


def _integrity(flow: FlowResult) -> float | None:
    return OK if flow.intact else 0.0


def _violations(wire: WireResult) -> float | None:
    return float(wire.violations) if wire.checked else None


#: Kind of expectation → what it compares, in the kind's unit; None: there is nothing to compare.
FLOW_MEASURES: Mapping[str, Callable[[FlowResult], float | None]] = {
    "completion": _completion,
    "goodput": _goodput,
    "rtt": _rtt,
    **{
        f"{of} {rank}": partial(_rank, of=f"{of}_ms", rank=rank)
        for of in ("rtt", "latency", "round")
        for rank in ("min", "p50", "p90", "p99", "max")
    },
    "loss": _loss,
    "retransmissions": _retransmissions,
    "integrity": _integrity,
}
RUN_MEASURES: Mapping[str, Callable[[WireResult], float | None]] = {"wire violations": _violations}

_SHOW: Mapping[str, Callable[[float], str]] = {
    "ns": lambda value: f"{value / SECOND:.3g}s" if value >= SECOND else f"{value / MILLISECOND:.3g}ms",
    "bit/s": lambda value: f"{value / 1e6:.3g}Mbit",
    "ratio": lambda value: f"{value * 100:.3g}%",
    "count": lambda value: f"{value:.0f}",
    "ok": lambda value: "ok" if value == OK else "not ok",
}
