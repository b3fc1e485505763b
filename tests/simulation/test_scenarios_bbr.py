"""Transfers over typical paths with BBR: limits in virtual time, whatever the machine.

The limits are those that picoquic publishes for its own simulator, whose links serialise nothing but UDP
payload, at 2^20 bits for a Mbit. ``mbit`` and ``back_kbit`` say the same to ours, which count whole frames.
"""

from __future__ import annotations

from typing import Any

import pytest

from node.protocol.configuration import Configuration
from node.protocol.congestion.bbr import Bbr
from node.protocol.time import MILLISECOND, SECOND, Duration
from orchestrator.simulation.packet import OVERHEAD
from tests.support.bottleneck import Bottleneck as Shared
from tests.support.scenario import FULL_PACKET, Bottleneck, Flow, Path

MB = 1_000_000
MBPS = 1_000_000
#: What a packet with nothing but an acknowledgement is long.
ACK_PACKET = 45


def mbit(rate: float) -> int:
    """Return the rate of frames that carries so many binary Mbit/s of UDP payload."""
    return int(rate * 2**20 * FULL_PACKET / (FULL_PACKET - OVERHEAD))


def back_kbit(rate: float) -> int:
    """Return the rate of frames that carries so many binary kbit/s of acknowledgements' payload."""
    return int(rate * 2**20 / 1000 * (ACK_PACKET + OVERHEAD) / ACK_PACKET)


def packets(rate: int, time: Duration) -> int:
    """Return how many full packets a buffer of so much time holds."""
    return rate * time // (8 * SECOND * FULL_PACKET)


def transfer(path: Path, size: int, *, seed: int = 1) -> Flow:
    """Return one BBR flow over a path, after its end."""
    network = Bottleneck(path, seed=seed)
    flow = network.flow(size, configuration=Configuration(congestion="bbr"))
    network.run()
    return flow


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_megabytes_over_100_mbit_with_jitter(seed: int) -> None:
    """Of 1.05 s, 0.79 s are what the link takes."""
    path = Path(
        rate=mbit(100), delay=10 * MILLISECOND, jitter=3 * MILLISECOND,
        queue=packets(mbit(100), 26 * MILLISECOND),
    )  # fmt: skip
    assert transfer(path, 10 * MB, seed=seed).seconds <= 1.05


@pytest.mark.parametrize("seed", [1, 2])
def test_ten_megabytes_over_a_gigabit_with_jitter(seed: int) -> None:
    """Of 0.25 s, 0.08 s are what the link takes; the rest is for doubling up to it."""
    path = Path(
        rate=mbit(1000), delay=4 * MILLISECOND, jitter=2 * MILLISECOND,
        queue=packets(mbit(1000), 12 * MILLISECOND),
    )  # fmt: skip
    assert transfer(path, 10 * MB, seed=seed).seconds <= 0.25


@pytest.mark.slow
def test_ten_megabytes_over_a_slow_and_long_path() -> None:
    """Of 81 s, 78.6 s are what the link takes and 0.9 s handshake and delay: probing must cost little."""
    path = Path(
        rate=mbit(1), delay=300 * MILLISECOND, jitter=3 * MILLISECOND,
        queue=packets(mbit(1), 606 * MILLISECOND),
    )  # fmt: skip
    assert transfer(path, 10 * MB).seconds <= 81


@pytest.mark.slow
def test_ten_megabytes_whose_acknowledgements_have_a_hundredth_of_the_rate() -> None:
    """Of 8.5 s, 7.86 s are what the link takes: acknowledgements must not queue for long."""
    path = Path(
        rate=mbit(10), back_rate=back_kbit(100), delay=MILLISECOND, jitter=MILLISECOND * 3 // 4,
        queue=packets(mbit(10), 50 * MILLISECOND),
    )  # fmt: skip
    assert transfer(path, 10 * MB).seconds <= 8.5


@pytest.mark.slow
def test_a_hundred_megabytes_over_a_satellite_and_again_with_the_path_remembered() -> None:
    """SPEC 8.1.3-9, 8-7: of 5.5 and 4.9 s, 3.1 s are what the link takes, 0.9 s handshake and delay."""
    path = Path(
        rate=mbit(250), back_rate=back_kbit(3000), delay=300 * MILLISECOND,
        queue=packets(mbit(250), 600 * MILLISECOND),
    )  # fmt: skip
    network = Bottleneck(path)
    # A receiver that lets the first flight be as large as what is remembered.
    configuration = Configuration(
        congestion="bbr", remember_path=True,
        initial_connection_window=64 << 20, initial_stream_window=64 << 20,
    )  # fmt: skip
    first = network.flow(100 * MB, configuration=configuration)
    network.run()
    start = network.scheduler.now + 5 * SECOND
    again = network.flow(100 * MB, configuration=configuration, start=start, after=first)
    network.run()
    assert first.seconds <= 5.5
    assert again.seconds <= 4.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "goodput"),
    [
        ({}, 0.92),
        ({"fec": "reed-solomon"}, 0.9),
        ({"fec": "xor"}, 0.88),  # its symbols mend single losses only
    ],
    ids=["alone", "reed-solomon", "xor"],
)
def test_random_loss_leaves_nine_tenths_of_the_rate(settings: dict[str, Any], goodput: float) -> None:
    """SPEC 8.1.3-10: 5 % of 20 Mbit/s at 100 ms, from five seconds on, when the loss is known for chance.

    Repaired packets count as lost (SPEC 12-1), and repair takes its part of the rate: about what is lost.
    """
    path = Path(rate=mbit(20), delay=50 * MILLISECOND, loss=0.05)
    network = Bottleneck(path)
    flow = network.flow(100 * MB, configuration=Configuration(congestion="bbr", **settings))
    network.run_for(5 * SECOND)
    received, delivered = flow.received, flow.connection.recovery.rate.delivered
    network.run_for(8 * SECOND)
    assert flow.connection.recovery.rate.delivered - delivered >= 0.9 * 20 * 2**20
    assert flow.received - received >= goodput * 20 * 2**20


def jain(rates: list[float]) -> float:
    """Return Jain's fairness index: 1 is fair, 1/n is one flow alone."""
    return sum(rates) ** 2 / (len(rates) * sum(rate * rate for rate in rates))


def shares(
    controllers: list[str], *, rate: int, rtt: Duration, products: float, loss: str = "0%", seconds: int = 15
) -> list[float]:
    """Return the shares of the link that flows begun a second apart have over the last ``seconds``."""
    queue = max(4, int(products * rate * rtt) // (8 * SECOND * 1200))
    first = Shared(controllers[0], rate_bps=rate, rtt=rtt, queue=queue)
    if loss != "0%":
        first.set_rate(rate, loss=loss)
    flows = [first]
    for number, controller in enumerate(controllers[1:], start=2):
        first.run_for(SECOND)
        flows.append(Shared(controller, rate_bps=rate, rtt=rtt, beside=first, seed=number))
    first.run_for(8 * SECOND)
    before = [flow.delivered for flow in flows]
    first.run_for(seconds * SECOND)
    return [(flow.delivered - was) * 8 / seconds / rate for flow, was in zip(flows, before, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("products", [0.25, 1, 4])
def test_bbr_flows_share_a_bottleneck(products: float) -> None:
    """A buffer of five packets, of one product, of four: 0.85 of Jain's index is 70 to 30."""
    found = shares(["bbr", "bbr"], rate=5 * MBPS, rtt=40 * MILLISECOND, products=products)
    assert jain(found) >= 0.85
    assert sum(found) >= 0.9


@pytest.mark.slow
def test_bbr_flows_share_a_bottleneck_that_loses_by_chance() -> None:
    """SPEC 8.1.3-10: whoever comes later must find out as well that it is chance; that takes its time."""
    found = shares(["bbr", "bbr"], rate=5 * MBPS, rtt=60 * MILLISECOND, products=1, loss="3%", seconds=20)
    assert min(found) >= 0.1
    assert sum(found) >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize("products", [0.5, 1, 4])
@pytest.mark.parametrize("other", ["new-reno", "cubic"])
def test_neither_bbr_nor_a_loss_based_flow_starves_beside_the_other(other: str, products: float) -> None:
    """A tenth of the link is what starving means here; the draft promises Reno no more than to live on."""
    found = shares(["bbr", other], rate=5 * MBPS, rtt=40 * MILLISECOND, products=products)
    assert min(found) >= 0.1
    assert sum(found) >= 0.9


def test_bbr_leaves_a_deep_queue_nearly_empty() -> None:
    """The reason for it all: a loss-based flow fills eight products, BBR keeps within its gains."""
    flow = Shared("bbr", rate_bps=5 * MBPS, rtt=40 * MILLISECOND, queue=8 * 20)
    flow.run_for(3 * SECOND)
    samples: list[int] = []
    flow.watch = lambda: samples.append(flow.recovery.rtt.latest_rtt)
    flow.run_for(5 * SECOND)
    assert isinstance(flow.controller, Bbr)
    assert max(samples) < 3 * 40 * MILLISECOND
    assert sorted(samples)[len(samples) // 2] < 1.25 * 40 * MILLISECOND
