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
    once = controller.congestion_window
    assert once < before
    for sent in (5 * RTT, 6 * RTT, 7 * RTT):  # all sent before the period began
        controller.on_lost(loss_sample(10 * SIZE, sent=sent, now=8 * RTT))
        controller.on_congestion_experienced(newest_sent=sent, now=8 * RTT)
    assert controller.congestion_window == once
    controller.on_lost(loss_sample(SIZE, sent=7 * RTT + 1, now=9 * RTT))
    assert controller.congestion_window < once


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
    reduced = controller.congestion_window
    controller.on_ack(ack_sample(reduced, sent=10, now=RTT))
    assert controller.congestion_window == reduced


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
    assert marked.congestion_window == lost.congestion_window


@every_controller
def test_a_spurious_loss_restores_window_and_threshold(name: str) -> None:
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
