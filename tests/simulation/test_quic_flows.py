"""QUIC in virtual time: aioquic driven by the simulator's clock, with the simulator's chance."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.transports.base import TRANSPORTS
from orchestrator.errors import EnvironmentMissingError, NotSupportedError
from orchestrator.experiment.selection import select_backend
from orchestrator.results import RunResult, Verdict
from orchestrator.topology.load import parse
from orchestrator.topology.planning import make_plan
from tests.support.experiments import simulate

TOPOLOGY = """
name: quic
seed: 3
topology:
  nodes: {a: {}, b: {}, r: {kind: router}}
  links:
    - {endpoints: ["a:eth1", "r:eth1"], netem: {delay: 5ms}}
    - {endpoints: ["b:eth1", "r:eth2"], netem: {delay: 5ms, rate: 20Mbit, queue: 40p, loss: 0.5%}}
workloads:
  film: {kind: bulk, from: a, to: b, size: 500kB, transport: quic}
  ask: {kind: request-response, from: a, to: b, count: 200, size: 100B, response: 2kB, streams: 200,
        start: 2s, transport: {protocol: quic, congestion: reno}}
  calls: {kind: bulk, from: b, to: a, size: 1kB, connections: 5, start: 4s, transport: quic}
  ours: {kind: bulk, from: a, to: b, size: 200kB, start: 6s}
expect: [integrity == ok, wire violations == 0]
"""


def test_flows_over_quic_run_on_virtual_time(tmp_path: Path) -> None:
    result = simulated(tmp_path)
    assert result.verdict is Verdict.PASS, result.reasons
    flows = {flow.name: flow for flow in result.flows}
    assert [flow.transport for flow in result.flows] == ["quic", "quic", "quic", "strait"]
    assert flows["ask"].congestion == "reno"
    assert 20 <= flows["film"].min_rtt_ms <= 30
    assert flows["film"].packets_lost > 0
    assert flows["film"].received_file is not None
    # Frames that are not Strait's are counted, and no violation.
    assert result.wire.other > 800


def test_the_same_seed_gives_the_same_run_over_quic(tmp_path: Path) -> None:
    first, again = simulated(tmp_path / "1"), simulated(tmp_path / "2")
    # But for the flow of many streams: whose turn is next after a packet of several follows from where in
    # memory aioquic has them (it keeps those of one packet in a set of objects).
    figures = [
        [(flow.name, flow.seconds, flow.statistics) for flow in result.flows if flow.name != "ask"]
        for result in (first, again)
    ]
    assert len(figures[0]) == 3
    assert figures[0] == figures[1]


def test_tcp_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    plan = make_plan(parse(TOPOLOGY.replace("transport: quic", "transport: tcp").encode(), file="t.yml"))
    with pytest.raises(NotSupportedError, match="simulation has no transport tcp"):
        select_backend("simulation", plan)


def test_a_machine_without_the_library_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    plan = make_plan(parse(TOPOLOGY.encode(), file="t.yml"))
    with pytest.raises(EnvironmentMissingError, match=r"pip install 'narrows\[quic\]'"):
        select_backend("simulation", plan)


def simulated(directory: Path) -> RunResult:
    missing = TRANSPORTS["quic"].missing({})
    if missing is not None:
        pytest.skip(missing)
    return simulate(TOPOLOGY, directory, capture=True)
