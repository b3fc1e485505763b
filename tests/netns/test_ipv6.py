"""IPv6 in namespaces: flows and captures over it, both versions side by side, and no word of its own."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import pytest

from node.capture.pcapng import Capture
from orchestrator.backends.netns import NetnsDeployment
from orchestrator.pytest_plugin import Lab
from orchestrator.wiring import namespaces
from tests.netns.labs import PATIENCE_SECONDS

pytestmark = [pytest.mark.netns, pytest.mark.slow]

LAB = """
name: both
calibrate: off
time-limit: 30s
topology:
  defaults: {ip: dual, netem: {delay: 1ms}}
  nodes: {a: {}, r: {kind: router}, s: {kind: router}, b: {}}
  links:
    - {endpoints: ["a:eth1", "r:eth1"]}
    - {endpoints: ["r:eth2", "s:eth1"], ip: 6, mtu: 1400}
    - {endpoints: ["s:eth2", "b:eth1"], netem-forward: {corrupt: 5%}}
workloads:
  file: {kind: bulk, from: a, to: b, size: 300kB}
expect: [integrity == ok, wire violations == 0]
"""


@pytest.mark.topology(LAB)
@pytest.mark.backends("netns")
def test_flows_cross_ipv6_with_damage_and_every_frame_is_checked(lab: Lab) -> None:
    result = lab.passes()
    assert result.wire.frames > 300
    # Damage was left for the transport's own check to find, as over IPv4. Some 230 packets: one run in a
    # hundred thousand damages none of them.
    assert sum(flow.integrity_failures for flow in result.flows) > 0
    ethertypes = {
        bytes(frame.data[12:14])
        for path in result.directory.rglob("*.pcapng")
        for frame in Capture.open(path)
    }
    assert ethertypes == {b"\x86\xdd"}, "only what the flows send is on the wire, and that is IPv6"


@pytest.mark.topology(LAB.replace("ip: 6, mtu", "mtu").replace("corrupt: 5%", "delay: 2ms"))
@pytest.mark.backends("netns")
def test_both_versions_are_there_where_a_link_has_both(lab: Lab) -> None:
    with lab.deployed() as up:
        assert isinstance(up.deployment, NetnsDeployment)
        a, b = map(up.plan.node, "ab")
        left, right = map(up.deployment.lab.namespace, "ab")
        assert arrives(socket.AF_INET, left, right, a.ipv4, b.ipv4) == b"hello"
        assert arrives(socket.AF_INET6, left, right, a.ipv6, b.ipv6) == b"hello"


def arrives(family: socket.AddressFamily, left: Path, right: Path, here: str, there: str) -> bytes:
    """Send a datagram from one namespace to another, and return what came."""
    make = partial(socket.socket, family, socket.SOCK_DGRAM)
    a, b = (namespaces.inside({path: make})[path] for path in (left, right))
    with a, b:
        b.settimeout(PATIENCE_SECONDS)
        a.bind((here, 5000))
        b.bind((there, 5000))
        a.sendto(b"hello", (there, 5000))
        return b.recv(100)
