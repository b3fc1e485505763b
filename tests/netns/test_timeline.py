"""The timeline on real packets: every action once, and the kernel's own NAT."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.faults.base import FAULTS
from orchestrator.topology.load import parse
from orchestrator.topology.planning import make_plan
from orchestrator.wiring import nat
from tests.support.command import narrows

pytestmark = [pytest.mark.netns, pytest.mark.slow]

#: All actions but those of NAT routers, within the time that the flow takes; it starts anew at its end.
EVERYTHING = """
name: everything
time-limit: 60s
topology:
  defaults: {netem: {delay: 2ms, rate: 10Mbit}}
  nodes: {a: {}, r: {kind: router}, b: {}}
  links:
    - endpoints: ["a:eth1", "r:eth1"]
    - endpoints: ["r:eth2", "b:eth1"]
workloads:
  film: {kind: bulk, from: a, to: b, size: 3MB, on-crash: restart}
  noise: {kind: bulk, from: b, to: a, size: 100MB}
timeline:
  - {at: 300ms, set: {link: "a:eth1", netem: {loss: 2%}}, for: 100ms}
  - {at: 420ms, cut: ["b:eth1"], for: 50ms}
  - {at: 500ms, partition: [[a], [b]], for: 20ms}
  - {at: 540ms, flap: {link: r, down: 10ms, up: 10ms}, for: 40ms}
  - {at: 600ms, one-way-cut: "b:eth1"}
  - {at: 640ms, heal: "b:eth1"}
  - {at: 660ms, disable: {link: r, netem: [rate]}}
  - {at: 700ms, enable: r}
  - {at: 720ms, pause: b, for: 100ms}
  - {at: 840ms, rebind: {node: a, port: true}}
  - {at: 900ms, rebind: {node: a, address: true}}
  - {at: 1s, migrate: {node: a}}
  - {at: 1100ms, traffic: {from: a, to: b, rate: 1Mbit}, for: 100ms}
  - {at: 1250ms, start: noise}
  - {at: 1400ms, stop: noise}
  - {at: 1450ms, crash: b}
  - {at: 1500ms, restart: b}
"""
BEHIND_NAT = """
name: behind-nat
calibrate: off
time-limit: 60s
topology:
  defaults: {netem: {delay: 2ms}}
  nodes: {a: {}, n: {kind: nat, timeout: 30s, ports: random}, b: {}}
  links:
    - endpoints: ["a:eth1", "n:eth1"]
    - endpoints: ["n:eth2", "b:eth1"]
workloads:
  ping: {kind: echo, from: a, to: b, size: 100B, count: 10, interval: 500ms}
timeline:
  - {at: 2s, nat-flush: n}
  - {at: 3s, nat-timeout: {node: n, timeout: 1500ms}, for: 500ms}
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))


def test_every_action_on_real_packets(tmp_path: Path) -> None:
    topology = tmp_path / "everything.lab.yml"
    topology.write_text(EVERYTHING)
    result = narrows("run", topology, "--backend", "netns", "--results", tmp_path / "r", "-f", "json").json()
    assert {event["outcome"] for event in result["timeline"]} == {"done"}, result["timeline"]
    done = {event["action"] for event in result["timeline"]}
    assert done == {name for name in FAULTS if not name.startswith("nat-")}
    for event in result["timeline"]:
        assert event["seconds"] >= event["planned_seconds"]
    assert result["verdict"] == "PASS", result["reasons"]
    assert result["flows"]["film"]["restarts"] == 1
    assert result["flows"]["noise"]["stopped"]


def test_kernel_translates_forgets_and_changes_its_time_out(tmp_path: Path) -> None:
    topology = tmp_path / "behind-nat.lab.yml"
    topology.write_text(BEHIND_NAT)
    result = narrows("run", topology, "--backend", "netns", "--results", tmp_path / "r", "-f", "json").json()
    assert result["verdict"] == "PASS", result["reasons"]
    assert "the kernel (conntrack) translates at n" in result["notes"]
    forgotten, changed, back = result["timeline"]
    assert forgotten["detail"] == "1 mappings forgotten"
    assert changed["detail"] == "rounded up to 2 s: the kernel counts seconds"
    assert back["detail"] == ""
    target = result["flows"]["ping"]["statistics"]["target"]
    assert target["remote"][0] == "10.0.0.5"
    assert target["path_changes"] == 1


def test_rules_of_a_router_name_its_outside() -> None:
    plan = make_plan(parse(BEHIND_NAT.encode(), file="test"))
    assert nat.rules(plan.node("n"), "iptables") == [
        [
            "iptables",
            "-w",
            "-t",
            "nat",
            "-A",
            "POSTROUTING",
            "-o",
            "eth2",
            "-j",
            "MASQUERADE",
            "--random-fully",
        ],
        [
            *("iptables", "-w", "-t", "mangle", "-A", "PREROUTING", "-i", "eth2"),
            *("!", "-d", "10.0.0.5", "-j", "DROP"),
        ],
        ["iptables", "-w", "-A", "INPUT", "-i", "eth2", "-j", "DROP"],
    ]
