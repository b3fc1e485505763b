"""Ten seconds of bad packets beside a transfer: it neither ends nor loses a packet for them."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from node.control.messages import Command
from node.protocol.time import SECOND
from orchestrator.backends.netns import NetnsDeployment
from orchestrator.probes.malformed import MalformedProbe
from orchestrator.probes.wire import verify
from orchestrator.pytest_plugin import DeployedLab, Lab
from orchestrator.topology.model import LinkEndpoint
from tests.netns.labs import busy, left_over
from tests.netns.test_backend import transfer

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.any_kernel]

DURATION = 10 * SECOND
#: More than the bottleneck can carry in that time, and less than its queue can hold, so that nothing of the
#: transfer is lost by itself. The bad packets enter behind the bottleneck and take nothing of its rate.
SIZE = 7_000_000
BUSY = busy("busy", SIZE)


async def drops(deployment: NetnsDeployment, node: str) -> int:
    """How many datagrams a node has dropped so far as no packets of its connections."""
    reply = await deployment.request(node, Command("status"))
    counts = reply.data["drops"]
    assert isinstance(counts, dict)
    return sum(counts.values())


@pytest.mark.topology(BUSY)
@pytest.mark.backends("netns")
def test_bad_packets_neither_stop_nor_slow_a_transfer(lab: Lab) -> None:
    with lab.deployed() as up:
        sent = up.do(transfer_among_bad_packets(up))
        report = verify(up.plan, up.collect())
    assert report.violation_count == 0, report.violations[:3]
    assert report.complete, report.notes
    assert 0 < report.injected <= sent
    assert left_over(up.run_id) == []


async def transfer_among_bad_packets(up: DeployedLab) -> int:
    """Return how many bad packets were sent meanwhile."""
    deployment = up.deployment
    assert isinstance(deployment, NetnsDeployment)
    transferring = asyncio.create_task(transfer(deployment))
    injected = await MalformedProbe().run(
        deployment, up.plan, endpoint=LinkEndpoint("middle", "eth2"), duration=DURATION, rng=Random(9)
    )
    sent = int(injected.figures["frames_sent"])
    # Half of them are addressed to the other host; of the rest right's core saw nearly all.
    assert await drops(deployment, "right") > sent / 3 > 300
    assert not transferring.done(), "the bad packets came while the transfer was running"
    ends = {str(event.data["role"]): event.data for event in await transferring}
    assert ends["source"]["ok"], ends["source"]["error"]
    assert ends["target"]["ok"], ends["target"]["error"]
    assert ends["source"]["bytes"] == ends["target"]["bytes"] == SIZE
    assert ends["source"]["sha256"] == ends["target"]["sha256"]
    statistics = ends["source"]["statistics"]
    assert isinstance(statistics, dict)
    assert statistics["packets_lost"] <= statistics["packets_sent"] / 100
    return sent
