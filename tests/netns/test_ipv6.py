"""IPv6 in namespaces: flows and captures over it, both versions side by side, and no word of its own."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from pathlib import Path

import pytest

from node.capture.pcapng import Capture
from orchestrator.wiring import namespaces
from orchestrator.wiring.lab import Lab
from tests.netns.labs import PATIENCE_SECONDS, new_run_id, plan_of
from tests.support.command import narrows

pytestmark = [pytest.mark.netns, pytest.mark.slow]

LAB = """
name: both
time-limit: 30s
topology:
  defaults: {ip: dual, netem: {delay: 1ms}}
  nodes: {a: {}, r: {kind: router}, s: {kind: router}, b: {}}
  links:
    - {endpoints: ["a:eth1", "r:eth1"]}
    - {endpoints: ["r:eth2", "s:eth1"], ip: 6, mtu: 1400}
    - {endpoints: ["s:eth2", "b:eth1"], netem-forward: {corrupt: 1%}}
workloads:
  file: {kind: bulk, from: a, to: b, size: 300kB}
expect: [integrity == ok, wire violations == 0]
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))


def test_flows_cross_ipv6_with_damage_and_every_frame_is_checked(tmp_path: Path) -> None:
    (tmp_path / "both.lab.yml").write_text(LAB)
    command = (
        "run",
        tmp_path / "both.lab.yml",
        "--backend",
        "netns",
        "--calibrate",
        "off",
        "--results",
        tmp_path / "r",
        "-f",
        "json",
    )
    ended = narrows(*command)
    result = ended.json()
    assert result["verdict"] == "PASS", result["reasons"]
    assert result["wire"]["frames"] > 300
    # Damage was left for the transport's own check to find, as over IPv4.
    assert sum(flow["integrity_failures"] for flow in result["flows"].values()) > 0
    ethertypes = {
        bytes(frame.data[12:14])
        for path in (tmp_path / "r").rglob("*.pcapng")
        for frame in Capture.open(path)
    }
    assert ethertypes == {b"\x86\xdd"}, "only what the flows send is on the wire, and that is IPv6"


def test_both_versions_are_there_where_a_link_has_both(tmp_path: Path) -> None:
    plan = plan_of(LAB.replace("ip: 6, mtu", "mtu").replace("corrupt: 1%", "delay: 2ms"))
    lab = Lab.create(plan, run_id=new_run_id(), directory=tmp_path)

    def arrives(family: socket.AddressFamily, here: str, there: str) -> bytes:
        make = partial(socket.socket, family, socket.SOCK_DGRAM)
        a, b = (namespaces.inside({path: make})[path] for path in map(lab.namespace, "ab"))
        with a, b:
            b.settimeout(PATIENCE_SECONDS)
            a.bind((here, 5000))
            b.bind((there, 5000))
            a.sendto(b"hello", (there, 5000))
            return b.recv(100)

    async def arrived() -> list[bytes]:
        try:
            await lab.build()
            a, b = plan.node("a"), plan.node("b")
            return [arrives(socket.AF_INET, a.ipv4, b.ipv4), arrives(socket.AF_INET6, a.ipv6, b.ipv6)]
        finally:
            await lab.destroy()

    assert asyncio.run(arrived()) == [b"hello", b"hello"]
