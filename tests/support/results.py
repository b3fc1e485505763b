"""Results of runs, built by what a test is about; everything else is as after a clean run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from orchestrator.results import ExpectationResult, FlowResult, RunManifest, RunResult, WireResult

SUM = "ab" * 32

_FLOW = FlowResult(
    name="film",
    workload="bulk",
    source="lisbon",
    target="paris",
    completed=True,
    error="",
    bytes=1_000_000,
    sha256=SUM,
    source_sha256=SUM,
    seconds=2.0,
    bits_per_second=4_000_000.0,
    packets_sent=1000,
    packets_lost=10,
    retransmitted_packets=12,
    integrity_failures=0,
    rtt_ms=20.5,
    min_rtt_ms=20.0,
    integrity="aead",
    arq="selective-repeat",
    congestion="new-reno",
)
_MANIFEST = RunManifest(
    run_id="0123abcd",
    lab="line",
    backend="simulation",
    impairment="simulated",
    seed=1,
    plan_digest="cd" * 32,
    started_at="2026-01-02T03:04:05+00:00",
    kernel="Linux 6.1 x86_64",
    versions={"narrows": "0.1.0"},
)


def flow(**changes: object) -> FlowResult:
    """Return a flow that went well, with changes."""
    return dataclasses.replace(_FLOW, **changes)  # type: ignore[arg-type]


def wire(frames: int = 100, violations: int = 0, *, checked: bool = True) -> WireResult:
    """Return what a probe saw."""
    return WireResult(checked=checked, frames=frames, violations=violations)


def run_result(
    *flows: FlowResult,
    expectations: tuple[ExpectationResult, ...] = (),
    failures: tuple[str, ...] = (),
    directory: Path = Path("results/line-0123abcd"),
) -> RunResult:
    """Return a run's result."""
    return RunResult(
        manifest=_MANIFEST,
        flows=flows or (flow(),),
        links=(),
        wire=wire(),
        expectations=expectations,
        failures=failures,
        notes=(),
        duration=2_000_000_000,
        directory=directory,
    )
