"""TCP and QUIC between namespaces beside Strait; `narrows perf` and `narrows ping` inside a lab."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.transports.base import TRANSPORTS
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
workloads:
  ours: {kind: bulk, from: a, to: b, size: 300kB}
  one: {kind: bulk, from: a, to: b, size: 300kB, start: 300ms, transport: TRANSPORT}
  two: {kind: bulk, from: b, to: a, size: 300kB, start: 600ms,
        transport: {protocol: TRANSPORT, congestion: OTHER}}
  ask: {kind: request-response, from: a, to: b, count: 50, streams: 10, size: 100B, response: 2kB,
        start: 900ms, transport: TRANSPORT}
expect: [integrity == ok, wire violations == 0]
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))


@pytest.mark.parametrize(("transport", "other"), [("tcp", "bbr"), ("quic", "reno")])
def test_other_transports_cross_real_links(tmp_path: Path, transport: str, other: str) -> None:
    missing = TRANSPORTS[transport].missing({"congestion": other})
    if missing is not None:
        pytest.skip(missing)
    file = tmp_path / "versus.lab.yml"
    file.write_text(LAB + FLOWS.replace("TRANSPORT", transport).replace("OTHER", other))
    done = narrows("run", file, "--backend", "netns", "--results", tmp_path / "out", "-f", "json")
    assert done.code == 0, done.stderr + done.stdout
    result = done.json()
    flows = result["flows"]
    assert [flow["transport"] for flow in flows.values()] == ["strait", *[transport] * 3]
    assert (flows["one"]["congestion"], flows["two"]["congestion"]) == ("cubic", other)
    for flow in flows.values():
        assert flow["intact"]
        assert flow["min_rtt_ms"] >= 9
    assert flows["two"]["received_file"]
    assert result["wire"]["other"] > 300
    assert set(flows["ask"]["measured"]["latency_ms"]) >= {"p50", "p99"}


def test_perf_and_ping_run_inside_a_lab(tmp_path: Path) -> None:
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
        assert wrong.code == 4
        assert "no node 'nobody'" in wrong.stderr
    finally:
        assert narrows("destroy", "--all").code == 0
