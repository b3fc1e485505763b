"""TCP and QUIC between namespaces beside Strait; `narrows perf` and `narrows ping` inside a lab."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from node.transports.base import TRANSPORTS
from orchestrator.pytest_plugin import Lab
from tests.support.command import narrows

pytestmark = [pytest.mark.netns, pytest.mark.slow]

LAB = """
name: versus
time-limit: 60s
topology:
  nodes: {a: {}, b: {}}
  links:
    - {endpoints: ["a:eth1", "b:eth1"], netem: {delay: 5ms, rate: 50Mbit, queue: 100p}}
"""
FLOWS = """
parameters: {transport: tcp, other: bbr}
workloads:
  ours: {kind: bulk, from: a, to: b, size: 300kB}
  one: {kind: bulk, from: a, to: b, size: 300kB, start: 300ms, transport: "${transport}"}
  two: {kind: bulk, from: b, to: a, size: 300kB, start: 600ms,
        transport: {protocol: "${transport}", congestion: "${other}"}}
  ask: {kind: request-response, from: a, to: b, count: 50, streams: 10, size: 100B, response: 2kB,
        start: 900ms, transport: "${transport}"}
expect: [integrity == ok, wire violations == 0]
"""


@pytest.mark.topology(LAB + FLOWS)
@pytest.mark.backends("netns")
@pytest.mark.parametrize(("transport", "other"), [("tcp", "bbr"), ("quic", "reno")])
def test_other_transports_cross_real_links(lab: Lab, transport: str, other: str) -> None:
    missing = TRANSPORTS[transport].missing({"congestion": other})
    if missing is not None:
        pytest.skip(missing)
    result = lab.set(transport=transport, other=other).passes()
    flows = {flow.name: flow for flow in result.flows}
    assert [flow.transport for flow in result.flows] == ["strait", *[transport] * 3]
    assert (flows["one"].congestion, flows["two"].congestion) == ("cubic", other)
    for flow in result.flows:
        assert flow.intact
        assert flow.min_rtt_ms >= 9
    assert flows["two"].received_file
    assert result.wire.other > 300
    latency = flows["ask"].measured["latency_ms"]
    assert isinstance(latency, Mapping)
    assert set(latency) >= {"p50", "p99"}


SEVERAL = """
workloads:
  cubic: {kind: bulk, from: a, to: b, size: 100kB, transport: {protocol: tcp, congestion: cubic}}
  bbr: {kind: bulk, from: a, to: b, size: 100kB, transport: {protocol: tcp, congestion: bbr}}
  reno: {kind: bulk, from: a, to: b, size: 100kB, transport: {protocol: tcp, congestion: reno}}
  back: {kind: request-response, from: b, to: a, count: 9, size: 100B, response: 20kB,
         transport: {protocol: tcp, congestion: bbr}}
"""


@pytest.mark.topology(LAB + SEVERAL)
@pytest.mark.backends("netns")
def test_flows_over_tcp_between_two_nodes_have_their_own_congestion_control_at_both_ends(lab: Lab) -> None:
    for congestion in ("cubic", "bbr", "reno"):
        missing = TRANSPORTS["tcp"].missing({"congestion": congestion})
        if missing is not None:
            pytest.skip(missing)
    result = lab.passes()
    found = {
        flow.name: {end: flow.statistics[end]["congestion"] for end in ("source", "target")}
        for flow in result.flows
    }
    wanted = {"cubic": "cubic", "bbr": "bbr", "reno": "reno", "back": "bbr"}
    assert found == {name: {"source": each, "target": each} for name, each in wanted.items()}


def test_perf_and_ping_run_inside_a_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    file = tmp_path / "versus.lab.yml"
    file.write_text(LAB)
    up = narrows("deploy", str(file), "--backend", "netns", "--results", str(tmp_path / "out"))
    assert up.code == 0, up.stderr
    try:
        done = narrows("perf", "--lab", "versus", "a", "b", "-n", "200K", "-P", "2", "-J")
        assert done.code == 0, done.stderr
        measured = json.loads(done.stdout)
        assert measured["end"]["sum_received"]["bytes"] == 204_800
        assert measured["start"]["connecting_to"]["host"].startswith("10.")
        echoed = narrows("ping", "b", "a", "-c", "3", "-i", "0.05", "-q")
        assert echoed.code == 0, echoed.stderr
        assert "3 packets transmitted, 3 received, 0% packet loss" in echoed.stdout
        wrong = narrows("ping", "a", "nobody")
        assert wrong.code == 2
        assert "no node 'nobody'" in wrong.stderr
    finally:
        assert narrows("destroy", "--all").code == 0
