"""Judges a run by its topology's expectations."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from node.protocol.time import MILLISECOND, SECOND
from orchestrator.errors import ExpectationError
from orchestrator.experiment.measures import (
    COUNTER_MEASURES,
    FLOW_MEASURES,
    FLOWS_MEASURES,
    LINK_MEASURES,
    RUN_MEASURES,
)
from orchestrator.results import ExpectationResult, FlowResult, LinkResult, TimelineResult, WireResult
from orchestrator.topology.expectations import AT_LEAST, AT_MOST, EQUAL, EXPECTATION_KINDS, OK
from orchestrator.topology.model import Expectation

#: What links counted while the flows ran: by the end that sends, by name.
Counters: TypeAlias = Mapping[str, Mapping[str, int]]
#: What cannot be measured, and why.
NOT_COMPLETED = "the flow did not complete"
NOT_ALL_COMPLETED = "not every flow completed"
NOT_MEASURED = "nothing was measured"
NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Measured:
    """One value that an expectation is about."""

    #: The flow, or the direction of a link; None: the run.
    subject: str | None
    #: In the kind's base unit; None: there is nothing to compare.
    value: float | None
    #: Why there is nothing.
    missing: str = NOT_MEASURED


def judge(
    expectations: Iterable[Expectation],
    flows: Iterable[FlowResult],
    wire: WireResult,
    links: Sequence[LinkResult] = (),
    timeline: Sequence[TimelineResult] = (),
    counters: Counters = MappingProxyType({}),
) -> tuple[ExpectationResult, ...]:
    """Return whether each expectation held; one that is about all flows is judged for each of them.

    Raises:
        ExpectationError: an expectation names a flow, a link or a kind that there is not.
    """
    by_name = {flow.name: flow for flow in flows}
    return tuple(
        compare(expectation, found.subject, found.value, found.missing)
        for expectation in expectations
        for found in measure(expectation, by_name, wire, links, timeline, counters)
    )


def measure(
    expectation: Expectation,
    flows: Mapping[str, FlowResult],
    wire: WireResult,
    links: Sequence[LinkResult],
    timeline: Sequence[TimelineResult],
    counters: Counters,
) -> Iterator[Measured]:
    """Yield what an expectation is about: a value for each flow or link that it concerns."""
    kind = expectation.kind
    if kind in FLOW_MEASURES:
        yield from _of_flows(expectation, flows)
    elif kind in FLOWS_MEASURES:
        together = [_named(expectation, name, flows) for name in expectation.arguments or flows]
        names = ", ".join(flow.name for flow in together) if expectation.arguments else "all flows"
        yield Measured(names, FLOWS_MEASURES[kind](together), NOT_ALL_COMPLETED)
    elif kind in LINK_MEASURES:
        yield from _of_links(expectation, links, checked=wire.checked)
    elif kind in COUNTER_MEASURES:
        for end in expectation.arguments or counters:
            value = counters.get(end, {}).get(COUNTER_MEASURES[kind])
            yield Measured(end, None if value is None else float(value))
        if not expectation.arguments and not counters:
            yield Measured(None, None)
    elif kind in RUN_MEASURES:
        yield Measured(None, RUN_MEASURES[kind](wire, timeline), NOT_CHECKED)
    else:
        raise ExpectationError(f"nothing measures {kind!r}")


def _of_flows(expectation: Expectation, flows: Mapping[str, FlowResult]) -> Iterator[Measured]:
    applies_to = EXPECTATION_KINDS[expectation.kind].workloads
    for name in [expectation.flow] if expectation.flow is not None else list(flows):
        flow = _named(expectation, name, flows)
        if expectation.flow is None and applies_to and flow.workload not in applies_to:
            continue
        value = FLOW_MEASURES[expectation.kind](flow)
        yield Measured(name, value, NOT_MEASURED if flow.completed else NOT_COMPLETED)


def _of_links(expectation: Expectation, links: Sequence[LinkResult], *, checked: bool) -> Iterator[Measured]:
    wanted = expectation.arguments[0] if expectation.arguments else None
    found = [link for link in links if wanted in (None, link.sender)]
    if not found:
        if checked and wanted is not None:
            raise ExpectationError(f"{expectation.text}: no link has an end {wanted!r}")
        yield Measured(wanted, None, NOT_CHECKED)
    for link in found:
        value = LINK_MEASURES[expectation.kind](link)
        if value is not None or wanted is not None:  # of all links, those that have no rate have no say
            yield Measured(link.sender, value)


def _named(expectation: Expectation, name: str, flows: Mapping[str, FlowResult]) -> FlowResult:
    if name not in flows:
        raise ExpectationError(f"{expectation.text}: no flow is called {name!r}")
    return flows[name]


def compare(
    expectation: Expectation, subject: str | None, measured: float | None, missing: str = NOT_MEASURED
) -> ExpectationResult:
    """Return whether ``measured`` is as expected; None never is."""
    if measured is None:
        return ExpectationResult(expectation.text, subject, passed=False, measured=None, shown=missing)
    passed = OPERATORS[expectation.operator](measured, expectation.value)
    shown = show_value(EXPECTATION_KINDS[expectation.kind].unit, measured)
    return ExpectationResult(expectation.text, subject, passed=passed, measured=measured, shown=shown)


def show_value(unit: str, value: float) -> str:
    """Return a value in a base unit as people read it."""
    return _SHOW[unit](value)


def needs_counters(expectation: Expectation) -> bool:
    """Return whether links must count for it."""
    return expectation.kind in COUNTER_MEASURES


def judgeable(expectations: Iterable[Expectation], *, captured: bool) -> list[Expectation]:
    """Return those that can be judged: of what only captures tell, nothing is known where there were none."""
    return [each for each in expectations if captured or not EXPECTATION_KINDS[each.kind].from_captures]


OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    AT_MOST: lambda measured, bound: measured <= bound,
    AT_LEAST: lambda measured, bound: measured >= bound,
    EQUAL: lambda measured, bound: measured == bound,
}
#: Of the values of all runs together.
AGGREGATE_FUNCTIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "median": statistics.median,
    "mean": statistics.fmean,
    "min": min,
    "max": max,
}
_SHOW: Mapping[str, Callable[[float], str]] = {
    "ns": lambda value: f"{value / SECOND:.3g}s" if value >= SECOND else f"{value / MILLISECOND:.3g}ms",
    "bit/s": lambda value: f"{value / 1e6:.3g}Mbit",
    "ratio": lambda value: f"{value * 100:.3g}%",
    "bytes": lambda value: f"{value:.0f}B",
    "count": lambda value: f"{value:.0f}",
    "number": lambda value: f"{value:.4g}",
    "ok": lambda value: "ok" if value == OK else "not ok",
}
