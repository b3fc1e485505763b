"""Forged ICMP errors beside a transfer: no kernel and no node believes what they say of it (SPEC 13.4-5)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, IPerror, UDPerror
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from orchestrator.backends.netns import NetnsDeployment
from orchestrator.executor import Executor
from orchestrator.probes.wire import verify
from orchestrator.probes.wire.sightings import INJECTED_DSCP
from orchestrator.pytest_plugin import DeployedLab, Lab
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan, InterfacePlan
from orchestrator.wiring.namespaces import inside
from tests.netns.labs import busy, left_over
from tests.netns.test_backend import transfer

pytestmark = [pytest.mark.netns, pytest.mark.slow]

SIZE = 2_500_000
#: Four seconds, of which the forged messages take less than two.
BUSY = busy("forged", SIZE)
#: Messages of each kind against each host.
EACH = 20
#: Least MTU that IPv4 knows, one below the least a QUIC packet needs, and one that seems plausible.
MTUS = (68, 1228, 1400)


def interface(plan: DeploymentPlan, endpoint: LinkEndpoint) -> InterfacePlan:
    return next(i for i in plan.node(endpoint.node).interfaces if i.name == endpoint.interface)


def forged(plan: DeploymentPlan, *, victim: str, peer: str, out: LinkEndpoint) -> Iterator[bytes]:
    """Yield frames for a host: the peer and the port are unreachable, and the packets it sends are too long.

    Args:
        out: where the frames enter: the router's side of the victim's link.
    """
    own, (theirs,) = interface(plan, out), plan.node(victim).interfaces
    host, other = plan.node(victim), plan.node(peer)
    # What a router or the peer would quote: the head of a packet that the victim sends.
    quoted = (
        IPerror(src=host.ipv4, dst=other.ipv4, flags="DF", len=1480)
        / UDPerror(sport=host.port, dport=other.port, len=1460)
        / Raw(b"\x41" + bytes(27))
    )
    kinds = [ICMP(type=3, code=1), ICMP(type=3, code=3), ICMP(type=3, code=13)]
    kinds += [ICMP(type=3, code=4, nexthopmtu=mtu) for mtu in MTUS]
    for kind in kinds:
        for source in (other.ipv4, own.ipv4.partition("/")[0]):
            ip = IP(src=source, dst=host.ipv4, tos=INJECTED_DSCP << 2)
            yield bytes(Ether(src=own.mac, dst=theirs.mac) / ip / kind / quoted)


def counted(deployment: NetnsDeployment, node: str, name: str) -> int:
    """Return a counter of a node's kernel (its /proc/net/snmp)."""
    namespace = deployment.lab.namespace(node)
    text = inside({namespace: lambda: Path("/proc/thread-self/net/snmp").read_text()})[namespace]
    names, values = (
        line.split() for line in text.splitlines() if line.startswith(f"{name.partition('.')[0]}:")
    )
    return int(dict(zip(names, values, strict=True))[name.partition(".")[2]])


@pytest.mark.topology(BUSY)
@pytest.mark.backends("netns")
def test_forged_icmp_neither_stops_nor_slows_a_transfer_nor_lowers_its_mtu(lab: Lab) -> None:
    """SPEC 13.4-5: unreachable and too long, with real packets, at both ends and from both sources."""
    with lab.deployed() as up:
        up.do(transfer_among_forged_messages(up))
        report = verify(up.plan, up.collect())
    assert report.violation_count == 0, report.violations[:3]
    assert left_over(up.run_id) == []


async def transfer_among_forged_messages(up: DeployedLab) -> None:
    deployment, plan = up.deployment, up.plan
    assert isinstance(deployment, NetnsDeployment)
    ways = [
        (out, frame)
        for victim, peer, out in (
            ("left", "right", LinkEndpoint("middle", "eth1")),
            ("right", "left", LinkEndpoint("middle", "eth2")),
        )
        for frame in forged(plan, victim=victim, peer=peer, out=out)
    ]
    before = {node: counted(deployment, node, "Icmp.InDestUnreachs") for node in ("left", "right")}
    transferring = asyncio.create_task(transfer(deployment))
    await deployment.sleep(500_000_000)
    for _ in range(EACH):
        for out, frame in ways:
            await deployment.inject(out, frame)
        await deployment.sleep(50_000_000)
    assert not transferring.done(), "the forged messages came while the transfer was running"
    ends = {str(event.data["role"]): event.data for event in await transferring}
    # The kernels took them in, and believed them as far as they go: the routes have become narrow.
    for node, peer in (("left", "right"), ("right", "left")):
        taken = counted(deployment, node, "Icmp.InDestUnreachs") - before[node]
        assert taken == EACH * len(ways) / 2
        assert counted(deployment, node, "Icmp.InErrors") == 0
        namespace = deployment.lab.namespace(node)
        route = Executor().run(["ip", "route", "get", plan.node(peer).ipv4], namespace=namespace)
        assert " mtu " in route.stdout
    assert ends["source"]["ok"], ends["source"]["error"]
    assert ends["target"]["ok"], ends["target"]["error"]
    assert ends["source"]["bytes"] == ends["target"]["bytes"] == SIZE
    assert ends["source"]["sha256"] == ends["target"]["sha256"]
    statistics = ends["source"]["statistics"]
    assert isinstance(statistics, dict)
    assert statistics["packets_lost"] == 0
    assert statistics["datagram_size"] > max(MTUS) - 28
    assert statistics["bytes_sent"] / statistics["packets_sent"] > max(MTUS) - 28
