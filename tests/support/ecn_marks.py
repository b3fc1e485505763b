"""A flow over a bottleneck that marks, on any back end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.experiment import runner
from orchestrator.results import RunResult
from orchestrator.topology.model import Topology
from tests.support.topologies import bulk, impaired, line_topology

FAST = {"delay": "2ms", "rate": "100Mbit"}
#: A queue so deep that a sender without a signal fills it, and a threshold of twice the round trip.
MARKING = {"delay": "8ms", "rate": "20Mbit", "queue": "400p"}
KINDS: Mapping[str, Mapping[str, str]] = {
    "threshold": {**MARKING, "ecn": "true", "ce-threshold": "20ms"},
    "codel": {**MARKING, "ecn": "true", "aqm": "codel"},
    "nothing": MARKING,
}
SIZE = 6_000_000


@dataclass(frozen=True)
class Marked:
    """What a flow met."""

    impairment: str
    intact: bool
    #: CE marks that the receiver reported, and packets that the sender declared lost.
    marks: int
    lost: int
    #: Smoothed RTT at the end.
    rtt_ms: float
    seconds: float
    violations: int
    notes: list[str]


def topology(kind: str, congestion: str) -> Topology:
    """Return a file over the bottleneck."""
    links = (impaired(FAST), impaired(KINDS[kind]))
    return line_topology(*links, flows=(bulk(SIZE, congestion=congestion),))


def flow(kind: str, congestion: str, backend: str, directory: Path) -> Marked:
    """Send the file, and look at no frame."""
    return met(
        asyncio.run(runner.run(topology(kind, congestion), backend, directory=directory, capture=False))
    )


def met(result: RunResult) -> Marked:
    """Return what the flow of a run met."""
    (found,) = result.flows
    assert found.completed, found.error
    return Marked(
        impairment=result.manifest.impairment,
        intact=found.intact,
        marks=int(str(found.statistics["source"]["ecn_ce"])),
        lost=found.packets_lost,
        rtt_ms=found.rtt_ms,
        seconds=found.seconds,
        violations=result.wire.violations,
        notes=list(result.notes),
    )


def check(marked: Marked) -> None:
    """Assert that the flow heard the marks, and that they spared it the losses and the queue."""
    assert marked.intact
    assert marked.marks > 0
    assert marked.lost == 0
    # 20 ms of propagation, 20 ms at the threshold, and what comes on top before a mark is heard.
    assert marked.rtt_ms < 90, marked
    assert marked.violations == 0
