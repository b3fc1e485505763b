"""What every congestion controller keeps (SPEC 8.1-1): one file more is one more here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
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
from node.protocol.time import MILLISECOND, SECOND
from tests.support.pair import Fate, Pair, hostile, perfect
from tests.support.samples import RTT, ack_sample, loss_sample

SIZE = 1200

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
    return CONTROLLERS[name](SIZE, rng=Random(1))


@every_controller
def test_it_begins_with_the_initial_window_and_no_threshold(name: str) -> None:
    controller = made(name)
    assert controller.congestion_window == initial_window(SIZE)
    assert controller.ssthresh is None
    assert controller.name == name


@every_controller
def test_its_packets_are_of_the_size_that_the_path_carries(name: str) -> None:
    """SPEC 8.1-3: the initial window follows the size, a grown one stays, and two packets always fit."""
    controller = made(name)
    controller.on_handshake_rtt(RTT, now=0)
    for size in (9000, 1452):
        controller.max_datagram_size = size
        assert controller.congestion_window == initial_window(size)
    controller.on_ack(ack_sample(1452, sent=0, now=RTT, window_used=True))
    grown = controller.congestion_window
    assert grown > initial_window(1452)
    controller.max_datagram_size = SIZE
    assert controller.congestion_window == grown
    controller.on_persistent_congestion()
    assert controller.congestion_window == MINIMUM_WINDOW_PACKETS * SIZE
    controller.max_datagram_size = 9000
    assert controller.congestion_window == MINIMUM_WINDOW_PACKETS * 9000
    assert controller.send_quantum is None or controller.send_quantum >= 2 * 9000


@pytest.mark.parametrize("size", [SIZE, 1452, 9000])
def test_new_reno_grows_by_a_packet_of_the_present_size_in_a_round_trip(size: int) -> None:
    """SPEC 8.1-3, RFC 9002 B.5"""
    controller = made("new-reno")
    controller.on_lost(loss_sample(SIZE, sent=0, now=1, prior_in_flight=10 * SIZE))
    controller.on_ack(ack_sample(SIZE, sent=2, now=3))
    controller.max_datagram_size = size
    before = controller.congestion_window
    controller.on_ack(ack_sample(before, sent=4, now=5, window_used=True))
    assert controller.congestion_window == before + size


def anything_happens(controller: CongestionController, rng: Random) -> Iterator[None]:
    """Tell the controller, without end, of what might happen, in any order; stop after each."""
    now, in_flight, delivered = 0, 0, 0
    controller.on_handshake_rtt(RTT, now=now)
    while True:
        now += rng.randrange(1, RTT)
        sent, size = max(0, now - rng.randrange(2 * RTT)), rng.randrange(1, 64 * SIZE)
        match rng.randrange(8):
            case 0 | 1:
                controller.on_sent(
                    size, now=now, prior_in_flight=in_flight, is_app_limited=rng.random() < 0.2
                )
                in_flight += size
            case 2 | 3 | 4:
                delivered += size
                fields = {
                    "window_used": rng.random() < 0.7, "delivered": delivered,
                    "prior_delivered": rng.randrange(delivered), "delivery_rate": rng.randrange(1 << 24),
                    "is_app_limited": rng.random() < 0.2, "tx_in_flight": size + in_flight,
                    "prior_in_flight": size + in_flight, "bytes_in_flight": in_flight,
                }  # fmt: skip
                controller.on_ack(ack_sample(size, sent=sent, now=now, **fields))
            case 5:
                controller.on_lost(loss_sample(size, sent=sent, now=now, prior_in_flight=size + in_flight))
                if rng.random() < 0.1:
                    controller.on_persistent_congestion()
            case 6:
                controller.on_congestion_experienced(newest_sent=sent, now=now)
            case _:
                controller.on_spurious_loss()
        in_flight //= 2 if rng.random() < 0.5 else 1
        yield


@every_controller
@pytest.mark.parametrize("seed", range(5))
def test_window_threshold_and_rate_stay_in_bounds_whatever_happens(name: str, seed: int) -> None:
    controller, rng = made(name), Random(seed)
    for _ in islice(anything_happens(controller, rng), 2000):
        assert controller.congestion_window >= MINIMUM_WINDOW_PACKETS * SIZE
        assert controller.ssthresh is None or controller.ssthresh >= MINIMUM_WINDOW_PACKETS * SIZE
        assert controller.pacing_rate is None or controller.pacing_rate > 0
        assert controller.send_quantum is None or controller.send_quantum > 0


@every_controller
def test_a_used_window_grows_when_acknowledged(name: str) -> None:
    controller = made(name)
    before = controller.congestion_window
    controller.on_sent(before, now=0, prior_in_flight=0, is_app_limited=False)
    rate = before * SECOND // RTT
    controller.on_ack(ack_sample(before, sent=0, now=RTT, delivery_rate=rate))
    assert controller.congestion_window > before


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
