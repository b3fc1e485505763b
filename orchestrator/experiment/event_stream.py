"""A run as lines of JSON while it goes on: docs/command-line.md says what each event holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TextIO

from node.protocol.time import SECOND, Duration
from orchestrator.experiment.progress import FlowProgress, FlowState, Phase, Progress
from orchestrator.experiment.repeats import RepeatResult
from orchestrator.results import RunResult

#: Version of the events; it changes when a key changes its meaning or goes.
EVENTS_VERSION = 1
#: Of the lab's clock between two figures of one flow.
FIGURES_EVERY: Duration = SECOND


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class EventStream:
    """Writes what is new in each snapshot of a run, and each result.

    Args:
        out: takes the lines; each is flushed, so that readers see it at once.
        wall: returns the time of day, ISO 8601.
    """

    def __init__(self, out: TextIO, *, wall: Callable[[], str] = _now) -> None:
        self._out = out
        self._wall = wall
        self._run = ""
        self._phase: Phase | None = None
        self._flows: dict[str, tuple[FlowState, Duration]] = {}
        self._happened = 0
        self._calibrated = False

    def observe(self, progress: Progress) -> None:
        """Take a snapshot."""
        if progress.run_id != self._run:
            self._forget(progress.run_id)
            told = {"version": EVENTS_VERSION, "lab": progress.lab, "backend": progress.backend}
            self._write("run_started", progress, {**told, "seed": progress.seed})
        if progress.phase is not self._phase:
            self._phase = progress.phase
            self._write(
                "phase", progress, {"phase": progress.phase.name.lower(), "text": progress.phase.value}
            )
        if progress.calibration is not None and not self._calibrated:
            self._calibrated = True
            self._write("calibration", progress, progress.calibration.to_json())
        for event in progress.happened[self._happened :]:
            self._write("timeline", progress, event.to_json())
        self._happened = len(progress.happened)
        for flow in progress.flows:
            self._flow(progress, flow)

    def finish(self, result: RunResult) -> None:
        """Take the result of a run."""
        data = {
            "lab": result.manifest.lab,
            "seed": result.manifest.seed,
            "verdict": result.verdict.value,
            "reasons": list(result.reasons),
            "expectations": [found.to_json() for found in result.expectations],
            "directory": str(result.directory),
        }
        line = {"event": "verdict", "at": self._wall(), "run_id": result.manifest.run_id}
        self._print({**line, "seconds": result.duration / SECOND, **data})

    def finish_all(self, result: RepeatResult) -> None:
        """Take the result of all runs of a repeated topology."""
        self._print({"event": "verdict_of_all", "at": self._wall(), **result.to_json()})

    def _flow(self, progress: Progress, flow: FlowProgress) -> None:
        state, at = self._flows.get(flow.name, (FlowState.WAITING, 0))
        due = flow.state is FlowState.RUNNING and progress.elapsed - at >= FIGURES_EVERY
        if flow.state is state and not due:
            return
        self._flows[flow.name] = flow.state, progress.elapsed
        kind = "flow" if flow.state is not state else "flow_figures"
        figures = {
            "flow": flow.name,
            "source": flow.source,
            "target": flow.target,
            "state": flow.state.value,
            "bytes": flow.bytes,
            "bytes_total": flow.bytes_total,
            "bits_per_second": flow.bits_per_second,
            "rtt_ms": flow.rtt_ms,
            "congestion_window": flow.window,
            "packets_sent": flow.packets_sent,
            "packets_lost": flow.packets_lost,
            "retransmitted_packets": flow.retransmitted_packets,
        }
        self._write(kind, progress, figures)

    def _forget(self, run: str) -> None:
        """Begin with a new run."""
        self._run, self._phase = run, None
        self._flows.clear()
        self._happened, self._calibrated = 0, False

    def _write(self, event: str, progress: Progress, data: Mapping[str, object]) -> None:
        head = {"event": event, "at": self._wall(), "run_id": progress.run_id}
        self._print({**head, "seconds": progress.elapsed / SECOND, **data})

    def _print(self, line: Mapping[str, object]) -> None:
        self._out.write(json.dumps(line) + "\n")
        self._out.flush()
