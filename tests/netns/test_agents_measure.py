"""Agents send and take measuring frames at their own ends of links, for whoever cannot be there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from node.control.messages import Command
from node.measuring.streams import Observed, Stream
from node.protocol.time import MILLISECOND, SECOND
from orchestrator.backends.base import Deployment
from orchestrator.backends.netns import NetnsDeployment
from orchestrator.compose.measuring import AgentEnd, AgentProber
from orchestrator.compose.networks import interface_of
from orchestrator.errors import BackendError, ProbeError
from orchestrator.executor import Executor
from orchestrator.measure.asked import Asked
from orchestrator.measure.judging import OUTSIDE
from orchestrator.measure.links import SHORT, measure_links
from orchestrator.pytest_plugin import DeployedLab, Lab
from tests.netns.labs import PAIR

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.backends("netns")]

LEFT, RIGHT = "left:eth1", "right:eth1"
FORMS = pytest.mark.parametrize("ip", [False, True], ids=["frames", "packets"])
SPARSE = Stream(count=200, size=100, interval=MILLISECOND)


@dataclass(frozen=True)
class Orders:
    """Hands commands to the agents of a lab, as one of Compose would be."""

    deployment: Deployment

    async def order(
        self, node: str, name: str, *, time_limit: float | None = None, **arguments: object
    ) -> Mapping[str, Any]:
        reply = await self.deployment.request(node, Command(name, arguments))
        if not reply.ok:
            raise BackendError(reply.error)
        return reply.data


@contextmanager
def probed(up: DeployedLab, *, ip: bool) -> Iterator[AgentProber]:
    """A prober of the pair's only link."""
    (link,) = up.plan.links
    ends = {
        str(end): AgentEnd(
            end,
            opposite,
            "eth1",
            interface_of(up.plan, end),
            interface_of(up.plan, opposite),
            ip=ip,
            by_shaper=ip,
            corrupts=False,
        )
        for end, opposite in ((link.a, link.b), (link.b, link.a))
    }
    prober = AgentProber(Orders(up.deployment), ends)
    try:
        yield prober
    finally:
        up.do(prober.close())


def delays(observed: Observed) -> list[int]:
    return [arrival.at - observed.departures[arrival.number] for arrival in observed.arrivals]


def shape_arriving(up: DeployedLab, **impairments: str) -> None:
    """Have the right node's agent shape what it receives, in netfilter."""
    shaped = up.request("right", "shape", interface="eth1", impairments=impairments, seed="a link")
    if not shaped.ok and "iptables" in shaped.error:
        pytest.skip(f"there is no NFQUEUE here: {shaped.error}")
    assert shaped.ok, shaped.error


@pytest.mark.topology(PAIR)
@FORMS
def test_what_one_agent_sends_the_other_takes_whole_in_order_and_late(lab: Lab, ip: bool) -> None:
    with lab.deployed() as up, probed(up, ip=ip) as prober:
        up.netem(LEFT, delay="20ms")
        for _ in range(2):
            found = up.do(prober.send({LEFT: SPARSE, RIGHT: SPARSE}, linger=5 * SECOND))
            for observed in found.values():
                assert [arrival.number for arrival in observed.arrivals] == list(range(200))
                assert not any(arrival.damaged for arrival in observed.arrivals)
                assert len(observed.departures) == 200
                assert observed.oversize == 0
            assert min(delays(found[LEFT])) >= 20 * MILLISECOND
            assert min(delays(found[RIGHT])) >= 0


@pytest.mark.topology(PAIR)
@FORMS
def test_copies_damage_and_loss_are_seen(lab: Lab, ip: bool) -> None:
    with lab.deployed() as up, probed(up, ip=ip) as prober:
        up.netem(LEFT, duplicate="100%")
        up.netem(RIGHT, loss="100%")
        found = up.do(prober.send({LEFT: SPARSE, RIGHT: SPARSE}, linger=SECOND // 2))
        assert len(found[LEFT].arrivals) == 400
        assert found[RIGHT].arrivals == []
        assert len(found[RIGHT].departures) == 200
        up.netem(LEFT, duplicate=None, corrupt="100%")
        damaged = up.do(prober.send({LEFT: SPARSE}, linger=SECOND // 2))[LEFT].arrivals
        # A bit of the Ethernet header is no part of an IP packet.
        share = sum(arrival.damaged for arrival in damaged) / len(damaged)
        assert share > 0.5 if ip else share == 1


@pytest.mark.topology(PAIR)
@FORMS
def test_a_train_comes_whole(lab: Lab, ip: bool) -> None:
    """Of frames of the MTU, several at once: as IP packets one by one, as frames from the ring."""
    stream = Stream(count=500, size=1514, interval=40_000, together=5)
    with lab.deployed() as up, probed(up, ip=ip) as prober:
        found = up.do(prober.send({LEFT: stream, RIGHT: stream}, linger=5 * SECOND))
        for observed in found.values():
            assert sorted(arrival.number for arrival in observed.arrivals) == list(range(500))
            assert len(observed.departures) == 500
            assert observed.oversize == 0


@pytest.mark.topology(PAIR)
@FORMS
def test_a_link_that_is_not_as_asked_is_found(lab: Lab, ip: bool) -> None:
    with lab.deployed() as up, probed(up, ip=ip) as prober:
        up.netem(LEFT, delay="20ms", loss="50%")
        asked = {LEFT: Asked(delay=10 * MILLISECOND, loss=0.01), RIGHT: Asked()}
        found = up.do(measure_links(prober, asked, SHORT))
        outside = {row.quantity for row in found[LEFT] if row.verdict == OUTSIDE}
        assert {"delay", "loss"} <= outside
        assert not {"loss", "damage", "duplicates"} & {
            row.quantity for row in found[RIGHT] if row.verdict == OUTSIDE
        }


@pytest.mark.topology(PAIR)
def test_only_packets_see_what_a_shaper_in_netfilter_does(lab: Lab) -> None:
    """It takes nothing but IP, behind where packet sockets look: frames would say that it does nothing."""
    with lab.deployed() as up:
        shape_arriving(up, delay="30ms")
        with probed(up, ip=True) as prober:
            found = up.do(prober.send({LEFT: SPARSE}, linger=5 * SECOND))[LEFT]
            assert len(found.arrivals) == 200
            assert min(delays(found)) >= 30 * MILLISECOND
        with probed(up, ip=False) as prober:
            found = up.do(prober.send({LEFT: SPARSE}, linger=5 * SECOND))[LEFT]
            assert min(delays(found)) < 30 * MILLISECOND


@pytest.mark.topology(PAIR)
def test_packets_whose_headers_are_damaged_behind_the_checksum_are_no_error(lab: Lab) -> None:
    """The host has checked them before the shaper: it answers some by ICMP, the others it takes or drops."""
    dense = Stream(count=1_000, size=100, interval=MILLISECOND // 4)
    with lab.deployed() as up:
        shape_arriving(up, corrupt="100%")
        with probed(up, ip=True) as prober:
            for _ in range(2):
                found = up.do(prober.send({LEFT: dense, RIGHT: SPARSE}, linger=2 * SECOND))
                assert 500 < len(found[LEFT].arrivals) < 1_000
                assert len(found[RIGHT].arrivals) == 200


@pytest.mark.topology(PAIR)
def test_a_burst_is_counted_where_it_leaves_and_where_it_comes_in(lab: Lab) -> None:
    with lab.deployed() as up, probed(up, ip=True) as prober:
        for _ in range(2):
            found = up.do(prober.burst([LEFT, RIGHT]))
            assert set(found) == {LEFT, RIGHT}
            for burst in found.values():
                assert (burst.at_sender, burst.on_link, burst.oversize) == (8, 8, 0)


@pytest.mark.topology(PAIR)
def test_frames_that_the_senders_own_queue_refuses_are_lost_and_no_error(lab: Lab) -> None:
    """As where a node shapes what leaves its own interface: the socket is told of an overflow (ENOBUFS)."""
    with lab.deployed() as up:
        assert isinstance(up.deployment, NetnsDeployment)
        slow = ["tc", "qdisc", "add", "dev", "eth1", "root", "tbf"]
        slow += ["rate", "1mbit", "burst", "2000", "limit", "4000"]
        Executor().run(slow, namespace=up.deployment.lab.namespace("left"))
        with probed(up, ip=False) as prober:
            dense = Stream(count=300, size=1000, interval=10_000)
            found = up.do(prober.send({LEFT: dense}, linger=SECOND))[LEFT]
    assert len(found.departures) == 300
    assert 0 < len(found.arrivals) < 300


@pytest.mark.topology(PAIR)
def test_ends_can_be_opened_again_while_streams_are_under_way(lab: Lab) -> None:
    """An orchestrator that was killed leaves them; the next one is not held up by it."""
    endless = {"count": 100_000, "size": 100, "interval": SECOND, "together": 1}
    with lab.deployed() as up:
        with probed(up, ip=False) as prober:
            up.do(prober.send({LEFT: SPARSE}, linger=SECOND))
            assert up.request("left", "expect_streams", number=7, streams={LEFT: endless}).ok
            again = up.request("left", "expect_streams", number=8, streams={LEFT: endless})
            assert not again.ok
            assert "end them first" in again.error
            up.do(prober.close())
        with probed(up, ip=True) as prober:
            found = up.do(prober.send({LEFT: SPARSE}, linger=5 * SECOND))[LEFT]
            assert len(found.arrivals) == 200


@pytest.mark.topology(PAIR)
def test_an_interface_that_is_not_there_is_told(lab: Lab) -> None:
    end = {"interface": "eth9", "opposite": RIGHT, "mac": "02" * 6, "opposite_mac": "02" * 6, "mtu": 1500}
    with lab.deployed() as up:
        reply = up.request("left", "open_ends", ends={LEFT: end})
        assert not reply.ok
        assert "No such device" in reply.error
        assert up.request("left", "close_ends").ok


@pytest.mark.topology(PAIR)
def test_nodes_of_several_kernels_have_no_clock_in_common(lab: Lab) -> None:
    class Elsewhere(Orders):
        async def order(
            self, node: str, name: str, *, time_limit: float | None = None, **arguments: object
        ) -> Mapping[str, Any]:
            told = await super().order(node, name, time_limit=time_limit, **arguments)
            return {**told, "kernel": node} if "kernel" in told else told

    with lab.deployed() as up, probed(up, ip=False) as prober:
        prober._agents = Elsewhere(up.deployment)
        with pytest.raises(ProbeError, match="several kernels"):
            up.do(prober.send({LEFT: SPARSE}, linger=0))
