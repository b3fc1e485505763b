"""What every congestion controller keeps (ARCHITECTURE 7): one file more is one more here."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from node.protocol.configuration import Configuration
from node.protocol.congestion.base import (
    CONTROLLERS,
    MINIMUM_WINDOW_PACKETS,
    CongestionController,
    initial_window,
)
from node.protocol.events import StreamAcknowledged
from node.protocol.recovery.rtt import RttEstimator
from node.protocol.time import MILLISECOND, SECOND, Instant
from tests.support.pair import Fate, Pair, hostile, perfect

SIZE = 1200
RTT = 50 * MILLISECOND

#: The standard links: near, far, lossy, reordering, and hostile in every way at once.
LINKS: dict[str, Callable[[], Fate]] = {
    "near": lambda: perfect(MILLISECOND),
    "far": lambda: perfect(300 * MILLISECOND),
    "lossy": lambda: hostile(delay=20 * MILLISECOND, loss=0.05),
    "reordering": lambda: hostile(reorder=0.3),
    "hostile": lambda: hostile(loss=0.05, duplicate=0.05, reorder=0.1, corrupt=0.02),
}

every_controller = pytest.mark.parametrize("name", CONTROLLERS.names())


def made(name: str) -> CongestionController:
    return CONTROLLERS[name](SIZE)


def rtt() -> RttEstimator:
    estimator = RttEstimator()
    estimator.update(RTT, 0)
    return estimator


def ack(
    controller: CongestionController, size: int, *, sent: Instant, now: Instant, used: bool = True
) -> None:
    controller.on_packets_acked(size, time_sent=sent, now=now, rtt=rtt(), window_used=used)


@every_controller
def test_it_begins_with_the_initial_window_and_no_threshold(name: str) -> None:
    controller = made(name)
    assert controller.congestion_window == initial_window(SIZE)
    assert controller.ssthresh is None
    assert controller.name == name


@every_controller
@pytest.mark.parametrize("seed", range(5))
def test_the_window_never_falls_below_the_minimum(name: str, seed: int) -> None:
    controller, rng, now = made(name), Random(seed), 0
    for _ in range(2000):
        now += rng.randrange(1, RTT)
        sent = max(0, now - rng.randrange(2 * RTT))
        match rng.randrange(5):
            case 0 | 1:
                ack(controller, rng.randrange(1, 64 * SIZE), sent=sent, now=now, used=rng.random() < 0.7)
            case 2 | 3:
                controller.on_packets_lost(rng.randrange(1, 64 * SIZE), last_sent=sent, now=now)
            case _:
                controller.on_persistent_congestion()
        assert controller.congestion_window >= MINIMUM_WINDOW_PACKETS * SIZE
        assert controller.ssthresh is None or controller.ssthresh >= MINIMUM_WINDOW_PACKETS * SIZE


@every_controller
def test_losses_of_one_recovery_period_are_answered_once(name: str) -> None:
    controller = made(name)
    for round_trip in range(5):
        ack(controller, controller.congestion_window, sent=round_trip * RTT, now=(round_trip + 1) * RTT)
    before = controller.congestion_window
    controller.on_packets_lost(SIZE, last_sent=6 * RTT, now=7 * RTT)
    once = controller.congestion_window
    assert once < before
    for sent in (5 * RTT, 6 * RTT, 7 * RTT):  # all sent before the period began
        controller.on_packets_lost(10 * SIZE, last_sent=sent, now=8 * RTT)
    assert controller.congestion_window == once
    controller.on_packets_lost(SIZE, last_sent=7 * RTT + 1, now=9 * RTT)
    assert controller.congestion_window < once


@every_controller
def test_a_used_window_grows_when_acknowledged_and_an_unused_one_does_not(name: str) -> None:
    controller = made(name)
    before = controller.congestion_window
    ack(controller, before, sent=0, now=RTT, used=False)
    assert controller.congestion_window == before
    ack(controller, before, sent=0, now=RTT)
    assert controller.congestion_window > before


@every_controller
def test_it_grows_again_after_a_loss(name: str) -> None:
    controller, now = made(name), RTT
    controller.on_packets_lost(SIZE, last_sent=0, now=now)
    reduced = controller.congestion_window
    for _ in range(200):
        now += RTT
        ack(controller, controller.congestion_window, sent=now - RTT + 1, now=now)
    assert controller.congestion_window > reduced


@every_controller
def test_persistent_congestion_falls_to_the_minimum_and_growth_follows(name: str) -> None:
    controller = made(name)
    controller.on_persistent_congestion()
    assert controller.congestion_window == MINIMUM_WINDOW_PACKETS * SIZE
    ack(controller, controller.congestion_window, sent=1, now=RTT)
    assert controller.congestion_window > MINIMUM_WINDOW_PACKETS * SIZE


def transfer(name: str, fate: Fate, size: int) -> Pair:
    configuration = Configuration(congestion=name, handshake_timeout=60 * SECOND)
    pair = Pair(left=configuration, right=configuration, to_right=fate, seed=7)
    pair.established()
    data = Random(size).randbytes(size)
    stream_id = pair.connection.open_stream()
    pair.connection.write(stream_id, data, end=True)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    assert pair.right_data[stream_id] == data
    return pair


@every_controller
@pytest.mark.parametrize("link", LINKS)
def test_it_carries_a_transfer_over_every_standard_link(name: str, link: str) -> None:
    pair = transfer(name, LINKS[link](), 400_000)
    pair.run_for(10 * SECOND)
    assert pair.connection.statistics().bytes_in_flight == 0


@every_controller
def test_the_same_seed_gives_the_same_trace(name: str) -> None:
    assert (
        transfer(name, LINKS["hostile"](), 150_000).wire == transfer(name, LINKS["hostile"](), 150_000).wire
    )
