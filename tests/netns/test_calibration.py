"""Probes on real links: bursts are counted as packets, and an offload that leaves them whole is found."""

from __future__ import annotations

import pytest

from node.measuring.streams import Stream
from node.measuring.trains import Train
from node.protocol.time import SECOND
from orchestrator.backends.netns import NetnsDeployment
from orchestrator.executor import Executor
from orchestrator.experiment.calibration import calibrate
from orchestrator.pytest_plugin import DeployedLab, Lab
from orchestrator.results import CalibrationRow
from orchestrator.topology.calibrating import Calibrate
from tests.netns.labs import PAIR

pytestmark = pytest.mark.netns


def bursts(up: DeployedLab) -> dict[str, CalibrationRow]:
    """Measure; return what is told of bursts, by the end that sends."""
    found = up.do(calibrate(up.deployment, up.plan, Calibrate.WARN, virtual_time=False))
    return {row.sender: row for row in found.rows if row.quantity == "split bursts"}


@pytest.mark.topology(PAIR)
@pytest.mark.backends("netns")
def test_bursts_are_single_packets_until_an_offload_leaves_them_whole(lab: Lab) -> None:
    with lab.deployed() as up:
        right = bursts(up)
        assert isinstance(up.deployment, NetnsDeployment)
        namespace = up.deployment.lab.namespace("left")
        on = ["ethtool", "-K", "eth1", "tx-checksumming", "on", "tx-udp-segmentation", "on"]
        Executor().run(on, namespace=namespace)
        wrong = bursts(up)
    assert {end: (row.verdict, row.measured) for end, row in right.items()} == {
        "left:eth1": ("ok", 8.0),
        "right:eth1": ("ok", 8.0),
    }
    assert (wrong["left:eth1"].verdict, wrong["left:eth1"].measured) == ("outside", 1.0)
    assert "1 at the sender, 1 on the link" in wrong["left:eth1"].detail
    assert wrong["right:eth1"].verdict == "ok"


@pytest.mark.topology(PAIR)
@pytest.mark.backends("netns")
@pytest.mark.parametrize("ring", [True, False])
def test_a_train_comes_whole_and_in_order(lab: Lab, ring: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the ring as by one call a frame: the same bytes, each frame once, and again by a second train."""
    if not ring:
        monkeypatch.setattr(Train, "_map", lambda _: None)
    stream = Stream(count=500, size=1514, interval=20_000, together=5)
    with lab.deployed() as up:
        assert isinstance(up.deployment, NetnsDeployment)
        prober = up.deployment.prober([link.name for link in up.plan.links])
        try:
            for _ in range(2):
                found = up.do(prober.send({"left:eth1": stream}, linger=SECOND))["left:eth1"]
                assert [arrival.number for arrival in found.arrivals] == list(range(500))
                assert not any(arrival.damaged for arrival in found.arrivals)
                assert len(found.departures) == 500
        finally:
            up.do(prober.close())
