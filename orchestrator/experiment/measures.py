"""What each kind of expectation compares, taken from the results of a run.

A measure returns a value in its kind's unit, or None where there is nothing to compare: a flow of which
nothing is known must not meet an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from node.protocol.time import MILLISECOND, SECOND
from orchestrator.results import FlowResult, LinkResult, TimelineResult, WireResult
from orchestrator.topology.expectations import OK

FlowMeasure: TypeAlias = Callable[[FlowResult], float | None]
FlowsMeasure: TypeAlias = Callable[[Sequence[FlowResult]], float | None]
LinkMeasure: TypeAlias = Callable[[LinkResult], float | None]
RunMeasure: TypeAlias = Callable[[WireResult, Sequence[TimelineResult]], float | None]


def jain(rates: Sequence[float]) -> float | None:
    """Return Jain's fairness index: 1 for equal rates, 1/n where one has all; None: nobody has anything."""
    squares = sum(rate * rate for rate in rates)
    return sum(rates) ** 2 / (len(rates) * squares) if squares else None


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


def _rtt_rank(flow: FlowResult, *, rank: str) -> float | None:
    """Return what an echo flow measured itself; of others what the transport did."""
    if "rtt_ms" in flow.measured:
        return _rank(flow, of="rtt_ms", rank=rank)
    ranks = flow.statistics.get("source", {}).get("rtt_quantiles")
    value = ranks.get(rank) if isinstance(ranks, Mapping) else None
    return float(value) if isinstance(value, int) else None


def _loss(flow: FlowResult) -> float | None:
    sent, lost = flow.measured.get("sent"), flow.measured.get("lost")
    if isinstance(sent, int) and isinstance(lost, int):  # datagrams: what their target missed
        return lost / sent
    return flow.packets_lost / flow.packets_sent if flow.packets_sent else None


def _retransmissions(flow: FlowResult) -> float | None:
    return flow.retransmitted_packets / flow.packets_sent if flow.packets_sent else None


def _integrity(flow: FlowResult) -> float | None:
    return OK if flow.intact else 0.0


def _delivery(flow: FlowResult) -> float | None:
    messages = _measured(flow, "messages")
    if messages is not None:
        delivered = _measured(flow, "delivered")
        return delivered / messages if delivered is not None and messages else None
    loss = _loss(flow)
    return None if loss is None or not flow.completed else 1 - loss


def _expired(flow: FlowResult) -> float | None:
    messages, expired = _measured(flow, "messages"), _measured(flow, "expired")
    return expired / messages if messages and expired is not None else None


def _measured(flow: FlowResult, name: str) -> float | None:
    """Return what the workload itself counted."""
    value = flow.measured.get(name)
    return float(value) if isinstance(value, int | float) else None


def _statistic(flow: FlowResult, name: str, *, at: str) -> float | None:
    """Return what the transport counted at one end."""
    value = flow.statistics.get(at, {}).get(name)
    return float(value) if isinstance(value, int | float) else None


def _at_both(flow: FlowResult, name: str, *, together: Callable[[list[float]], float]) -> float | None:
    """Return what the transport counted at both ends; None unless both have told."""
    values = [_statistic(flow, name, at=end) for end in ("source", "target")]
    known = [value for value in values if value is not None]
    return together(known) if len(known) == len(values) else None


def _ecn(flow: FlowResult) -> float | None:
    state = flow.statistics.get("source", {}).get("ecn_state")
    return None if state is None else OK if state == "capable" else 0.0


def _restarts(flow: FlowResult) -> float | None:
    return float(flow.restarts) if flow.completed else None


def _of_source(name: str) -> FlowMeasure:
    return partial(_statistic, name=name, at="source")


def _fairness(flows: Sequence[FlowResult]) -> float | None:
    return jain([flow.bits_per_second for flow in flows]) if _all_completed(flows) else None


def _total_goodput(flows: Sequence[FlowResult]) -> float | None:
    return sum(flow.bits_per_second for flow in flows) if _all_completed(flows) else None


def _all_completed(flows: Sequence[FlowResult]) -> bool:
    return bool(flows) and all(flow.completed for flow in flows)


def _link_drops(link: LinkResult) -> float | None:
    return None if link.frames_out is None else float(max(0, link.frames_in - link.frames_out))


def _violations(wire: WireResult, _: Sequence[TimelineResult]) -> float | None:
    return float(wire.violations) if wire.checked else None


def _damaged(wire: WireResult, _: Sequence[TimelineResult]) -> float | None:
    return float(wire.damaged) if wire.checked else None


def _slipped(wire: WireResult, _: Sequence[TimelineResult]) -> float | None:
    return float(wire.slipped) if wire.checked else None


def _fact(wire: WireResult, _: Sequence[TimelineResult], *, name: str) -> float | None:
    return wire.facts.get(name) if wire.checked else None


def _timeline(_: WireResult, timeline: Sequence[TimelineResult], *, done: bool) -> float | None:
    return float(sum((event.outcome == "done") is done for event in timeline))


_RANKS = ("min", "p50", "p90", "p99", "max")
#: Kind of expectation → what it compares, in the kind's unit; None: there is nothing to compare.
FLOW_MEASURES: Mapping[str, FlowMeasure] = {
    "completion": _completion,
    "goodput": _goodput,
    "rtt": _rtt,
    **{f"rtt {rank}": partial(_rtt_rank, rank=rank) for rank in _RANKS},
    **{
        f"{of} {rank}": partial(_rank, of=f"{of}_ms", rank=rank)
        for of in ("latency", "round")
        for rank in _RANKS
    },
    "loss": _loss,
    "retransmissions": _retransmissions,
    "integrity": _integrity,
    "delivery": _delivery,
    "expired": _expired,
    "duplicates": partial(_measured, name="duplicates"),
    "late": partial(_measured, name="late"),
    "probe timeouts": _of_source("probe_timeouts"),
    "spurious losses": _of_source("spurious_losses"),
    "duplicate packets": partial(_at_both, name="duplicate_packets", together=sum),
    "late packets": partial(_at_both, name="late_packets", together=sum),
    "damaged packets": partial(_at_both, name="integrity_failures", together=sum),
    "repaired packets": _of_source("fec_packets_recovered"),
    "key updates": partial(_at_both, name="key_updates", together=sum),
    "path changes": partial(_at_both, name="path_changes", together=max),
    "marks": partial(_at_both, name="ecn_ce", together=sum),
    "ecn": _ecn,
    "datagram size": _of_source("datagram_size"),
    "restarts": _restarts,
}
FLOWS_MEASURES: Mapping[str, FlowsMeasure] = {"fairness": _fairness, "total goodput": _total_goodput}
LINK_MEASURES: Mapping[str, LinkMeasure] = {
    "link loss": lambda link: link.loss,
    "link drops": _link_drops,
    "utilisation": lambda link: link.utilisation,
}
#: What the link itself counted while the flows ran, under these names.
COUNTER_MEASURES: Mapping[str, str] = {"queue drops": "overflowed"}
#: What the wire probe counts (orchestrator.probes.wire.facts).
WIRE_FACTS = (
    *("connections", "handshakes", "retries", "resumptions", "early packets", "phase changes", "resets"),
    *("ect packets", "ce packets", "amplification", "addresses", "largest datagram"),
    *("ipv4 datagrams", "ipv6 datagrams", "chacha20 connections"),
)
RUN_MEASURES: Mapping[str, RunMeasure] = {
    "wire violations": _violations,
    "damaged datagrams": _damaged,
    "slipped datagrams": _slipped,
    **{name: partial(_fact, name=name) for name in WIRE_FACTS},
    "timeline done": partial(_timeline, done=True),
    "timeline missed": partial(_timeline, done=False),
}
