"""Follows the flows of a run: nodes' events in, progress and flow results out."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from node.control.messages import NodeEvent
from node.protocol.configuration import Configuration
from node.protocol.time import MILLISECOND, Instant
from node.transports.base import STRAIT
from orchestrator.experiment.progress import FlowProgress, FlowState
from orchestrator.results import FlowResult
from orchestrator.topology.model import WorkloadSpec
from orchestrator.topology.plan import DeploymentPlan

SOURCE, TARGET = "source", "target"
#: How other transports than Strait protect packets.
_SECURED = {"tcp": "tcp-checksum", "quic": "aead"}
_OVER = (FlowState.COMPLETED, FlowState.FAILED, FlowState.STOPPED)


@dataclass(slots=True)
class _Record:
    """What is known of one flow."""

    flow: WorkloadSpec
    progress: FlowProgress
    #: Data of the last event of each end, by role.
    ends: dict[str, Mapping[str, object]] = field(default_factory=dict)
    #: Why it failed, first cause first.
    errors: list[str] = field(default_factory=list)
    #: Its ends that crashed, with when and why: whatever fails afterwards fails of that.
    crashed: dict[str, str] = field(default_factory=dict)
    #: It is to start anew: what its ends report meanwhile is of the attempt before.
    interrupted: bool = False
    #: What its ends reported before this is of an attempt before.
    began: Instant = 0
    restarts: int = 0


class FlowTracker:
    """Knows of every flow of a plan whether it waits, runs, completed or failed.

    Args:
        plan: what runs.
        on_change: called whenever a figure has changed.
    """

    def __init__(self, plan: DeploymentPlan, on_change: Callable[[], None] = lambda: None) -> None:
        self._records = {
            flow.name: _Record(flow, FlowProgress(flow.name, flow.source, flow.target))
            for flow in plan.workloads
        }
        self._on_change = on_change
        #: Set once every flow is over.
        self.all_over = asyncio.Event()
        self._check_all_over()

    # What happened.

    def on_event(self, event: NodeEvent) -> None:
        """Take what a node reported."""
        record = self._records.get(str(event.data.get("flow")))
        if record is None or record.interrupted:
            return
        if record.restarts and event.time <= record.began:
            # Of the attempt before; on virtual time it may have ended at the very instant of the new start.
            return
        if event.kind == "flow_started":
            self._update(record, state=FlowState.RUNNING)
        elif event.kind == "flow_progress" and event.node == record.flow.source:
            self._on_progress(record, event.data)
        elif event.kind == "flow_finished":
            self._on_finished(record, event)

    def fail(self, flow: str, reason: str) -> None:
        """Note that a flow cannot complete; the first reason is the one that is told."""
        record = self._records[flow]
        if record.progress.state in _OVER or record.interrupted:
            return
        record.errors.append("; ".join([*record.crashed.values(), reason]))
        self._update(record, state=FlowState.FAILED)
        self._check_all_over()

    def fail_all(self, reason: str) -> None:
        """Fail every flow that is not over."""
        for name in self.unfinished():
            self._records[name].interrupted = False
            self.fail(name, reason)

    def stop(self, flow: str) -> bool:
        """Note that the timeline ended a flow; return whether it was not over already."""
        record = self._records[flow]
        if record.progress.state in _OVER:
            return False
        record.errors.append("stopped by the timeline")
        self._update(record, state=FlowState.STOPPED)
        self._check_all_over()
        return True

    def on_crash(self, node: str, reason: str) -> None:
        """Note that a node crashed on purpose: its running flows wait for it, or fail with that reason."""
        for name in self.unfinished():
            record = self._records[name]
            ends = (record.flow.source, record.flow.target)
            if node not in ends or (record.progress.state is FlowState.WAITING and not record.interrupted):
                continue
            record.crashed[node] = reason
            if record.flow.restarts:
                record.interrupted = True
                self._update(record, state=FlowState.WAITING, bytes=0)
            elif len(record.crashed) == len(ends):
                self.fail(name, "so nobody is left to tell more")

    def waiting_for(self, node: str) -> list[str]:
        """Return the flows that are to start anew and have an end at ``node``."""
        return [
            name
            for name, record in self._records.items()
            if record.interrupted and node in (record.flow.source, record.flow.target)
        ]

    def restart(self, flow: str, *, now: Instant) -> None:
        """Note that a flow starts anew: what was reported before ``now`` is of the attempt before."""
        record = self._records[flow]
        record.ends.clear()
        record.crashed.clear()
        record.interrupted, record.began = False, now
        record.restarts += 1

    def state(self, flow: str) -> FlowState:
        """Return where a flow is."""
        return self._records[flow].progress.state

    def fail_node(self, node: str, reason: str) -> None:
        """Fail every flow that needs a node which is gone."""
        for name in self.unfinished():
            flow = self._records[name].flow
            if node in (flow.source, flow.target):
                self.fail(name, reason)

    # What is known.

    def unfinished(self) -> list[str]:
        """Return the names of flows that are not over."""
        return [name for name, record in self._records.items() if record.progress.state not in _OVER]

    def running_nodes(self) -> list[str]:
        """Return the ends of all flows that have started and are not over, each once."""
        running = [r.flow for r in self._records.values() if r.progress.state is FlowState.RUNNING]
        return list(dict.fromkeys(node for flow in running for node in (flow.source, flow.target)))

    def progress(self) -> tuple[FlowProgress, ...]:
        """Return the figures of every flow, in the order of the topology."""
        return tuple(record.progress for record in self._records.values())

    def results(self) -> tuple[FlowResult, ...]:
        """Return what became of every flow, in the order of the topology."""
        return tuple(_result(record) for record in self._records.values())

    def _on_progress(self, record: _Record, data: Mapping[str, object]) -> None:
        total = data.get("bytes_total")
        self._update(
            record,
            state=FlowState.RUNNING,
            bytes=_int(data, "bytes"),
            bytes_total=total if isinstance(total, int) else None,
            bits_per_second=_float(data, "bits_per_second"),
            rtt_ms=_float(data, "rtt_ms"),
            window=_int(data, "congestion_window"),
            packets_sent=_int(data, "packets_sent"),
            packets_lost=_int(data, "packets_lost"),
            retransmitted_packets=_int(data, "retransmitted_packets"),
        )

    def _on_finished(self, record: _Record, event: NodeEvent) -> None:
        role = str(event.data.get("role"))
        record.ends[role] = event.data
        source, target = record.ends.get(SOURCE), record.ends.get(TARGET)
        # A source whose target has other bytes than it sent is not ok, yet both have come to their end:
        # that is for the comparison of the two sums to judge.
        damaged = role == SOURCE and event.data.get("sha256")
        if not event.data.get("ok") and not damaged:
            self.fail(record.flow.name, f"{event.node}: {event.data.get('error') or 'no reason given'}")
        elif source is not None and target is not None and record.progress.state not in _OVER:
            moved = _int(source, "bytes")
            self._update(
                record,
                state=FlowState.COMPLETED,
                bytes=moved,
                bytes_total=moved,
                bits_per_second=_float(source, "bits_per_second"),
            )
            self._check_all_over()

    def _update(self, record: _Record, **changes: object) -> None:
        if record.progress.state not in _OVER:
            record.progress = dataclasses.replace(record.progress, **changes)  # type: ignore[arg-type]
            self._on_change()

    def _check_all_over(self) -> None:
        if not self.unfinished():
            self.all_over.set()


def _result(record: _Record) -> FlowResult:
    flow, progress = record.flow, record.progress
    source, target = record.ends.get(SOURCE, {}), record.ends.get(TARGET, {})
    statistics, target_statistics = _mapping(source, "statistics"), _mapping(target, "statistics")
    defaults, transport = Configuration(), str(flow.transport.get("protocol", STRAIT))
    seconds = _float(source, "seconds")
    # What the target has counts; while it has not said so, what the source knows to have arrived.
    moved = _int(target, "bytes") if target else progress.bytes
    return FlowResult(
        name=flow.name,
        workload=flow.kind,
        source=flow.source,
        target=flow.target,
        completed=progress.state is FlowState.COMPLETED,
        error=record.errors[0] if record.errors else "",
        bytes=moved,
        sha256=str(target.get("sha256", "")),
        source_sha256=str(source.get("sha256", "")),
        seconds=seconds,
        bits_per_second=moved * 8 / seconds if seconds > 0 else 0.0,
        packets_sent=_int(statistics, "packets_sent") if statistics else progress.packets_sent,
        packets_lost=_int(statistics, "packets_lost") if statistics else progress.packets_lost,
        retransmitted_packets=(
            _int(statistics, "retransmitted_packets") if statistics else progress.retransmitted_packets
        ),
        integrity_failures=_int(statistics, "integrity_failures")
        + _int(target_statistics, "integrity_failures"),
        rtt_ms=_int(statistics, "smoothed_rtt") / MILLISECOND if statistics else progress.rtt_ms,
        min_rtt_ms=_int(statistics, "min_rtt") / MILLISECOND,
        integrity=_SECURED.get(transport, str(flow.transport.get("integrity", defaults.integrity))),
        arq=str(flow.transport.get("arq", defaults.arq)) if transport == STRAIT else "",
        congestion=str(flow.transport.get("congestion", statistics.get("congestion", defaults.congestion))),
        transport=transport,
        statistics={SOURCE: statistics, TARGET: target_statistics},
        measured=_mapping(source, "results"),
        stopped=progress.state is FlowState.STOPPED,
        restarts=record.restarts,
    )


def _int(data: Mapping[str, object], name: str) -> int:
    value = data.get(name)
    return int(value) if isinstance(value, int | float) else 0


def _float(data: Mapping[str, object], name: str) -> float:
    value = data.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _mapping(data: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}
