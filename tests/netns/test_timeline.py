"""The timeline on real packets: every action once, and the kernel's own NAT."""

from __future__ import annotations

import pytest

from orchestrator.faults.base import FAULTS
from orchestrator.pytest_plugin import Lab
from orchestrator.topology.load import parse
from orchestrator.topology.planning import make_plan
from orchestrator.wiring import nat

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


@pytest.mark.topology(EVERYTHING)
@pytest.mark.backends("netns")
def test_every_action_on_real_packets(lab: Lab) -> None:
    result = lab.passes()
    assert {event.outcome for event in result.timeline} == {"done"}, result.timeline
    assert {event.action for event in result.timeline} == {
        name for name in FAULTS if not name.startswith("nat-")
    }
    for event in result.timeline:
        assert event.at is not None
        assert event.at >= event.planned
    flows = {flow.name: flow for flow in result.flows}
    assert flows["film"].restarts == 1
    assert flows["noise"].stopped


@pytest.mark.topology(BEHIND_NAT)
@pytest.mark.backends("netns")
def test_kernel_translates_forgets_and_changes_its_time_out(lab: Lab) -> None:
    result = lab.passes()
    assert "the kernel (conntrack) translates at n" in result.notes
    forgotten, changed, back = result.timeline
    assert forgotten.detail == "1 mappings forgotten"
    assert changed.detail == "rounded up to 2 s: the kernel counts seconds"
    assert back.detail == ""
    (ping,) = result.flows
    remote = ping.statistics["target"]["remote"]
    assert isinstance(remote, (list, tuple))
    assert remote[0] == "10.0.0.5"
    assert ping.statistics["target"]["path_changes"] == 1


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
