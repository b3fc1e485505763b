"""Whole runs of small topologies in this process, on virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from orchestrator.experiment.runner import run
from orchestrator.results import FlowResult, RunResult, TimelineResult
from orchestrator.topology.load import parse

#: Hosts a and b around router r; the links delay by 5 ms each and carry 10 Mbit/s.
LINE = """
name: line
time-limit: 60s
topology:
  defaults: {netem: {delay: 5ms, rate: 10Mbit}}
  nodes: {a: {}, r: {kind: router}, b: {}}
  links:
    - endpoints: ["a:eth1", "r:eth1"]
    - endpoints: ["r:eth2", "b:eth1"]
"""


def simulate(text: str, directory: Path, *, capture: bool = False) -> RunResult:
    """Run a topology, given as text, to its end."""
    topology = parse(text.encode(), file="test", directory=directory)
    return asyncio.run(run(topology, "simulation", directory=directory, capture=capture))


def flow_of(result: RunResult, name: str = "film") -> FlowResult:
    """Return what became of a flow."""
    return next(flow for flow in result.flows if flow.name == name)


def happened(result: RunResult) -> list[tuple[float, str, str, str]]:
    """Return (seconds, action, phase, outcome) of the timeline."""
    return [
        (-1 if event.at is None else event.at / 1e9, event.action, event.phase, event.outcome)
        for event in result.timeline
    ]


def event_of(result: RunResult, action: str, phase: str = "begins") -> TimelineResult:
    """Return what became of the first time that an action began or ended."""
    return next(event for event in result.timeline if (event.action, event.phase) == (action, phase))
