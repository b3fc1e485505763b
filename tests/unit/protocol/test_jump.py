"""Jumps of the window: from memory and by a packet train (SPEC 8.1.1-4, 8.1.1-5)."""

from __future__ import annotations

import pytest

from node.protocol.congestion.cubic import BETA, Cubic
from node.protocol.loss_based.jump import LONG_PATH_RTT, MAX_GROWTH
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant
from tests.support.samples import ack_sample, loss_sample, rtt_of

SIZE = 1000
RTT = 600 * MILLISECOND


def acknowledge(
    cubic: Cubic, packets: int, *, sent: Instant, now: Instant, delivered: int, rtt: Duration = RTT
) -> None:
    """Acknowledge packets of a flight, ``delivered`` packets being delivered with them, none before it."""
    cubic.on_ack(
        ack_sample(
            packets * SIZE, sent=sent, now=now, rtt=rtt_of(rtt), rtt_sample=rtt, delivered=delivered * SIZE
        )
    )


def train(cubic: Cubic, *, packets: int, apart: Duration, rtt: Duration = RTT) -> None:
    """A flight that left at time 0, acknowledged two packets at a time."""
    for number in range(packets // 2):
        acknowledge(cubic, 2, sent=0, now=rtt + number * apart, delivered=2 * (number + 1), rtt=rtt)


def test_a_train_of_packets_shows_what_a_long_path_carries() -> None:
    """SPEC 8.1.1-5: two packets every 10 ms are 200 kB/s: 120 kB in a round trip."""
    cubic = Cubic(SIZE)
    train(cubic, packets=10, apart=10 * MILLISECOND)
    assert cubic.congestion_window == 122 * SIZE  # the last acknowledgement, two packets of slow start
    assert cubic.pacing_rate == 200 * SIZE


def test_a_jump_is_bounded_by_what_was_delivered() -> None:
    cubic = Cubic(SIZE)
    train(cubic, packets=10, apart=1)  # acknowledgements that came compressed
    assert cubic.congestion_window == MAX_GROWTH * 10 * SIZE


@pytest.mark.parametrize("rtt", [LONG_PATH_RTT - 1, LONG_PATH_RTT])
def test_only_long_paths_are_worth_it(rtt: Duration) -> None:
    cubic = Cubic(SIZE)
    train(cubic, packets=10, apart=100_000, rtt=rtt)
    assert (cubic.congestion_window > 20 * SIZE) is (rtt >= LONG_PATH_RTT)


@pytest.mark.parametrize(("packets", "jumps"), [(6, False), (8, True)])
def test_a_train_of_fewer_than_six_packets_after_the_first_says_nothing(packets: int, jumps: bool) -> None:
    cubic = Cubic(SIZE)
    train(cubic, packets=packets, apart=MILLISECOND)
    assert (cubic.congestion_window > 20 * SIZE) is jumps


def test_packets_sent_one_by_one_are_no_train() -> None:
    cubic = Cubic(SIZE)
    for number in range(10):
        sent = number * MILLISECOND
        acknowledge(cubic, 1, sent=sent, now=sent + RTT, delivered=number + 1)
    assert cubic.congestion_window == 20 * SIZE


def remembered(window: int) -> Cubic:
    """A sender that has jumped at time 0."""
    cubic = Cubic(SIZE)
    cubic.on_remembered_path(window * SIZE, rtt=RTT, now=0)
    return cubic


def test_a_remembered_window_is_paced_over_a_round_trip_until_something_of_it_arrives() -> None:
    cubic = remembered(600)
    assert cubic.congestion_window == 600 * SIZE
    assert cubic.pacing_rate == 600 * SIZE * SECOND // RTT
    acknowledge(cubic, 1, sent=0, now=RTT, delivered=1)
    assert cubic.pacing_rate is None


def test_a_loss_falls_back_to_what_has_arrived() -> None:
    """SPEC 8.1.1-4: ten packets were allowed before, and fifty of the jump have arrived."""
    cubic = remembered(600)
    acknowledge(cubic, 50, sent=1, now=RTT, delivered=50)
    cubic.on_lost(loss_sample(SIZE, sent=2, now=RTT + 1, prior_in_flight=550 * SIZE))
    assert cubic.ssthresh == int(60 * SIZE * BETA)
    assert cubic.pacing_rate is None


def test_a_loss_after_all_of_the_jump_has_arrived_is_one_like_any_other() -> None:
    cubic = remembered(600)
    acknowledge(cubic, 590, sent=1, now=RTT, delivered=590)
    window = cubic.congestion_window
    assert window == 1190 * SIZE  # slow start goes on from there
    cubic.on_lost(loss_sample(SIZE, sent=2, now=RTT + 1, prior_in_flight=600 * SIZE))
    assert cubic.ssthresh == int(window * BETA)
