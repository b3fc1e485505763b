"""What every controller that answers losses keeps: slow start, recovery periods, undo (SPEC 8.1-2)."""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.congestion.base import CONTROLLERS, MINIMUM_WINDOW_PACKETS, CongestionController
from node.protocol.loss_based.controller import LossBased
from tests.support.samples import RTT, ack_sample, loss_sample

SIZE = 1200

every_controller = pytest.mark.parametrize(
    "name", [name for name in CONTROLLERS if issubclass(CONTROLLERS[name], LossBased)]
)


def made(name: str, *, round_trips: int = 0) -> CongestionController:
    """Return a controller after so many round trips of slow start."""
    controller = CONTROLLERS[name](SIZE, rng=Random(1))
    for number in range(round_trips):
        controller.on_ack(ack_sample(controller.congestion_window, sent=number * RTT, now=(number + 1) * RTT))
    return controller


@every_controller
def test_losses_of_one_recovery_period_are_answered_once(name: str) -> None:
    controller = made(name, round_trips=5)
    before = controller.congestion_window
    controller.on_lost(loss_sample(SIZE, sent=6 * RTT, now=7 * RTT))
    once = controller.ssthresh
    assert once is not None
    assert once < before
    for sent in (5 * RTT, 6 * RTT, 7 * RTT):  # all sent before the period began
        controller.on_lost(loss_sample(10 * SIZE, sent=sent, now=8 * RTT))
        controller.on_congestion_experienced(newest_sent=sent, now=8 * RTT)
    assert controller.ssthresh == once
    controller.on_lost(loss_sample(SIZE, sent=7 * RTT + 1, now=9 * RTT))
    assert controller.ssthresh < once


@every_controller
def test_an_unused_window_does_not_grow(name: str) -> None:
    """RFC 9002 §7.8"""
    controller = made(name)
    before = controller.congestion_window
    controller.on_ack(ack_sample(before, sent=0, now=RTT, window_used=False))
    assert controller.congestion_window == before


@every_controller
def test_slow_start_grows_by_what_is_acknowledged(name: str) -> None:
    controller = made(name)
    controller.on_ack(ack_sample(2 * SIZE, sent=0, now=RTT))
    assert controller.congestion_window == 12 * SIZE


@every_controller
def test_what_was_sent_before_the_recovery_period_gives_no_growth(name: str) -> None:
    controller = made(name)
    controller.on_lost(loss_sample(SIZE, sent=5, now=10))
    controller.on_ack(ack_sample(controller.congestion_window, sent=10, now=RTT))
    controller.on_ack(ack_sample(SIZE, sent=11, now=RTT + 1, window_used=False))  # the period is over
    assert controller.congestion_window == controller.ssthresh


@every_controller
def test_it_grows_again_after_a_loss(name: str) -> None:
    controller, now = made(name), RTT
    controller.on_lost(loss_sample(SIZE, sent=0, now=now))
    reduced = controller.congestion_window
    for _ in range(200):
        now += RTT
        controller.on_ack(ack_sample(controller.congestion_window, sent=now - RTT + 1, now=now))
    assert controller.congestion_window > reduced


@every_controller
def test_a_mark_is_answered_as_a_loss(name: str) -> None:
    """RFC 9002 §7.1"""
    marked, lost = made(name, round_trips=3), made(name, round_trips=3)
    marked.on_congestion_experienced(newest_sent=4 * RTT, now=5 * RTT)
    lost.on_lost(loss_sample(SIZE, sent=4 * RTT, now=5 * RTT))
    assert marked.ssthresh == lost.ssthresh is not None


@every_controller
def test_a_spurious_loss_restores_window_and_threshold(name: str) -> None:
    """SPEC 8.1.1-3"""
    controller = made(name, round_trips=3)
    before = controller.congestion_window
    controller.on_lost(loss_sample(SIZE, sent=4 * RTT, now=5 * RTT))
    controller.on_spurious_loss()
    assert (controller.congestion_window, controller.ssthresh) == (before, None)
    controller.on_spurious_loss()  # there is nothing more to undo
    assert (controller.congestion_window, controller.ssthresh) == (before, None)


@every_controller
def test_persistent_congestion_falls_to_the_minimum_and_growth_follows(name: str) -> None:
    controller = made(name)
    controller.on_persistent_congestion()
    assert controller.congestion_window == MINIMUM_WINDOW_PACKETS * SIZE
    controller.on_spurious_loss()
    assert controller.congestion_window == MINIMUM_WINDOW_PACKETS * SIZE  # not what it is for
    controller.on_ack(ack_sample(controller.congestion_window, sent=1, now=RTT))
    assert controller.congestion_window > MINIMUM_WINDOW_PACKETS * SIZE


@every_controller
def test_the_window_is_reduced_over_a_round_trip_not_at_once(name: str) -> None:
    """SPEC 8.1.1-1: of all that arrives, the share that the new window is of the old one goes out again."""
    controller = made(name, round_trips=5)
    flight = controller.congestion_window
    controller.on_lost(loss_sample(SIZE, sent=6 * RTT, now=7 * RTT, prior_in_flight=flight))
    assert controller.ssthresh is not None
    in_flight, sent = flight - SIZE, 0
    for _ in range((flight - SIZE) // (2 * SIZE)):
        in_flight -= 2 * SIZE
        controller.on_ack(ack_sample(2 * SIZE, sent=6 * RTT, now=8 * RTT, bytes_in_flight=in_flight))
        while controller.congestion_window - in_flight >= SIZE:
            controller.on_sent(SIZE, now=8 * RTT, prior_in_flight=in_flight, is_app_limited=False)
            in_flight, sent = in_flight + SIZE, sent + SIZE
        assert abs(in_flight - max(flight - sent * (flight - controller.ssthresh) / controller.ssthresh,
                                   controller.ssthresh)) <= 4 * SIZE  # fmt: skip
    assert abs(in_flight - controller.ssthresh) <= 2 * SIZE


@every_controller
def test_slow_start_ends_before_a_loss_when_round_trips_get_longer(name: str) -> None:
    """SPEC 8.1.1-2"""
    controller, now, delivered = made(name), 0, 0
    for round_number in range(20):
        prior, rtt = delivered, RTT + (0 if round_number < 3 else RTT // 4)
        now += rtt
        for _ in range(8):
            share = controller.congestion_window // 8
            delivered += share
            sample = ack_sample(share, sent=now - rtt, now=now, delivered=delivered, prior_delivered=prior)
            controller.on_ack(sample)
        if controller.ssthresh is not None:
            break
    assert controller.ssthresh == pytest.approx(controller.congestion_window, rel=0.01)
    assert round_number == 3 + 5  # the one that found it out is the first of the five slow ones
