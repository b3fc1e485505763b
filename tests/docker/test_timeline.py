"""The timeline on containers, where it differs: the engine pauses them, and none of them comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lanes.machine import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.slow]

TOPOLOGY = """
name: contained
time-limit: 60s
topology:
  defaults: {netem: {delay: 2ms, rate: 10Mbit}}
  nodes: {a: {}, n: {kind: nat, ports: random}, b: {}}
  links:
    - endpoints: ["a:eth1", "n:eth1"]
    - endpoints: ["n:eth2", "b:eth1"]
workloads:
  film: {kind: bulk, from: a, to: b, size: 3MB}
  ping: {kind: echo, from: a, to: b, size: 100B, count: 100, interval: 200ms, transport: {idle-timeout: 2s}}
timeline:
  - {at: 500ms, pause: b, for: 300ms}
  - {at: 1200ms, nat-flush: n}
  - {at: 1400ms, rebind: {node: a, address: true}}
  - {at: 1600ms, migrate: {node: a}}
  - {at: 1700ms, traffic: {from: a, to: b, rate: 1Mbit}, for: 200ms}
  - {at: 8s, crash: b}
"""


def test_containers_are_paused_moved_translated_and_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    topology = tmp_path / "contained.lab.yml"
    topology.write_text(TOPOLOGY)
    argv = [sys.executable, "-m", "orchestrator", "run", str(topology), "--backend", "docker", "-f", "json"]
    done = subprocess.run(
        [*argv, "--results", str(tmp_path / "results")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert {event["outcome"] for event in result["timeline"]} == {"done"}, result["timeline"]
    assert result["flows"]["film"]["intact"], result["reasons"]
    # The crash is what the timeline asked for: the flow fails of it, the run's nodes do not.
    (reason,) = result["reasons"]
    assert reason.startswith("ping: node b crashed at 8 s, as the timeline says; a: ")
    assert "the kernel (conntrack) translates at n" in result["notes"]
