"""CUBIC (RFC 9438), HyStart++ (RFC 9406) and Proportional Rate Reduction (RFC 6937), by their formulas."""

from __future__ import annotations

import pytest

from node.protocol.congestion.cubic import ALPHA, BETA, Cubic, time_to_origin, w_cubic
from node.protocol.loss_based.hystart import HyStart
from node.protocol.loss_based.prr import ProportionalRateReduction
from node.protocol.recovery.samples import AckSample
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant
from tests.support.samples import ack_sample, loss_sample, rtt_of

SIZE = 1000
RTT = 100 * MILLISECOND


# RFC 9438


def test_constants_of_rfc_9438() -> None:
    assert pytest.approx(0.529, abs=0.001) == ALPHA
    assert BETA == 0.7


@pytest.mark.parametrize(
    ("w_max", "window", "k"),
    [
        (1000, 700, 9.0856),  # cbrt(300 / 0.4)
        (100, 70, 4.2172),  # cbrt(30 / 0.4)
        (100, 100, 0.0),
        (100, 120, 0.0),  # beyond it already
    ],
)
def test_k_is_the_time_back_to_the_last_maximum(w_max: int, window: int, k: float) -> None:
    """§4.2, figure 2"""
    assert time_to_origin(w_max * SIZE, window * SIZE, SIZE) == pytest.approx(k, abs=1e-4)


def test_the_cubic_starts_at_the_reduced_window_and_passes_the_maximum_at_k() -> None:
    """§4.2, figure 1 (SPEC 8.1.2-1)"""
    k = time_to_origin(1000 * SIZE, 700 * SIZE, SIZE)
    assert w_cubic(0, k, 1000 * SIZE, SIZE) == pytest.approx(700 * SIZE)
    assert w_cubic(k, k, 1000 * SIZE, SIZE) == 1000 * SIZE
    assert w_cubic(k + 5, k, 1000 * SIZE, SIZE) == pytest.approx((1000 + 0.4 * 125) * SIZE)


class Driven:
    """A CUBIC sender with a full window, one acknowledgement for each packet's share of a round trip."""

    def __init__(self, window: int, *, rtt: Duration = RTT) -> None:
        self.cubic = Cubic(SIZE)
        self.cubic.congestion_window = window * SIZE
        self.now: Instant = SECOND
        self.rtt = rtt

    @property
    def window(self) -> float:
        return self.cubic.congestion_window / SIZE

    def lose(self) -> None:
        """One packet is lost, and the recovery period goes by."""
        self.cubic.on_lost(loss_sample(SIZE, sent=self.now, now=self.now))
        self.now += self.rtt

    def ack(self, size: int, *, used: bool = True) -> None:
        sample = ack_sample(
            size, sent=self.now, now=self.now, window_used=used, rtt=rtt_of(self.rtt), rtt_sample=self.rtt
        )
        self.cubic.on_ack(sample)

    def go(self, seconds: float, *, used: bool = True) -> None:
        """Round trips in which all of the window is acknowledged, in ten parts."""
        end = self.now + int(seconds * SECOND)
        while self.now < end:
            self.now += self.rtt // 10
            self.ack(self.cubic.congestion_window // 10, used=used)


def test_a_loss_leaves_seven_tenths() -> None:
    driven = Driven(1000)
    driven.lose()
    assert driven.cubic.ssthresh == 700 * SIZE


def test_the_window_follows_the_cubic() -> None:
    """§4.4 and §4.5: concave up to the old maximum after K seconds, convex beyond it."""
    driven = Driven(1000)
    driven.lose()
    k = time_to_origin(1000 * SIZE, 700 * SIZE, SIZE)
    driven.ack(0)
    for seconds in (2.0, 5.0, k, k + 4):
        driven.go(seconds - (driven.now - 2 * SECOND + 9 * RTT) / SECOND)
        expected = w_cubic(seconds, k, 1000 * SIZE, SIZE) / SIZE
        assert driven.window == pytest.approx(expected, rel=0.01)


def test_a_window_that_reno_would_have_larger_is_reno_s() -> None:
    """§4.3, SPEC 8.1.2-2: on a short path with a small window W_est rules, α packets a round trip."""
    driven = Driven(10, rtt=10 * MILLISECOND)
    driven.lose()
    driven.ack(0)
    driven.go(0.02)
    assert driven.window == pytest.approx(7 + 2 * ALPHA, rel=0.02)
    driven.go(0.20)  # past cwnd_prior: a packet a round trip from there on
    reached = driven.window
    driven.go(0.05)
    assert driven.window == pytest.approx(reached + 5, rel=0.03)


def test_the_window_grows_by_at_most_half_in_a_round_trip() -> None:
    """§4.2, SPEC 8.1.2-2: far beyond the maximum the target is 1.5 cwnd."""
    driven = Driven(10)
    driven.lose()
    driven.ack(0)
    driven.now += 100 * SECOND
    before = driven.window
    driven.ack(driven.cubic.congestion_window)
    assert driven.window == pytest.approx(1.5 * before)


def test_a_flow_that_loses_below_its_last_maximum_makes_room() -> None:
    """§4.7, SPEC 8.1.2-3: fast convergence remembers (1 + β) / 2 of the window as the maximum."""
    driven = Driven(1000)
    driven.lose()
    driven.ack(0)
    assert driven.window == 700
    driven.lose()
    driven.ack(0)
    k = time_to_origin(700 * (1 + BETA) / 2 * SIZE, 490 * SIZE, SIZE)
    driven.go(k)
    assert driven.window == pytest.approx(700 * (1 + BETA) / 2, rel=0.01)


def test_a_spurious_loss_puts_back_the_cubic_as_it_was() -> None:
    """§4.9.2, SPEC 8.1.1-3"""
    driven, calm = Driven(1000), Driven(1000)
    for sender in (driven, calm):
        sender.lose()
        sender.ack(0)
        sender.go(3)
    driven.cubic.on_lost(loss_sample(SIZE, sent=driven.now, now=driven.now))
    driven.cubic.on_spurious_loss()
    for sender in (driven, calm):
        sender.go(3)
    assert driven.cubic.congestion_window == calm.cubic.congestion_window
    assert driven.cubic.ssthresh == calm.cubic.ssthresh


def test_time_with_an_unused_window_does_not_count() -> None:
    """§5.8, SPEC 8.1.2-4"""
    driven, calm = Driven(1000), Driven(1000)
    for sender in (driven, calm):
        sender.lose()
        sender.ack(0)
        sender.go(1)
    before = driven.window
    driven.go(20, used=False)
    assert driven.window == before
    for sender in (driven, calm):
        sender.go(1)
    assert driven.window == pytest.approx(calm.window, rel=0.001)


def test_slow_start_that_ends_without_a_loss_starts_the_cubic_at_its_origin() -> None:
    """§4.10, SPEC 8.1.2-3: K is 0 and W_max the window."""
    driven = Driven(100, rtt=SECOND)
    driven.cubic.ssthresh = 100 * SIZE
    driven.ack(0)
    driven.go(5)
    assert 100 + 0.4 * 5**3 < driven.window < 100 + 0.4 * 6**3  # the target is a round trip ahead


def test_after_persistent_congestion_the_origin_is_where_slow_start_ends() -> None:
    """§4.8, SPEC 8.1.2-3"""
    driven = Driven(1000, rtt=SECOND)
    driven.lose()
    driven.cubic.on_persistent_congestion()
    while driven.window < 700:
        driven.ack(driven.cubic.congestion_window)
    start = driven.window
    driven.ack(0)
    driven.go(3)
    assert start + 0.4 * 3**3 < driven.window < start + 0.4 * 4**3


# RFC 9406: SPEC 8.1.1-2


class Rounds:
    """Round trips in slow start."""

    def __init__(self) -> None:
        self.hystart = HyStart()
        self.delivered = 0

    def go(self, *rtts: int, samples: int = 8) -> list[int]:
        """One round for each RTT (ms): so many acknowledgements of 4000 bytes; return each round's growth."""
        found = []
        for rtt in rtts:
            prior = self.delivered
            growth = 0
            for _ in range(samples):
                self.delivered += 4000
                growth += self.hystart.on_ack(self._sample(rtt * MILLISECOND, prior))
            found.append(growth)
        return found

    def _sample(self, rtt: Duration, prior: int) -> AckSample:
        return ack_sample(
            4000, sent=0, now=rtt, rtt_sample=rtt, delivered=self.delivered, prior_delivered=prior
        )


@pytest.mark.parametrize(
    ("base", "shorter", "threshold"),
    [(16, 3, 4), (80, 9, 10), (400, 15, 16)],  # the least, an eighth, the most
)
def test_a_round_trip_longer_by_the_threshold_slows_growth_down(
    base: int, shorter: int, threshold: int
) -> None:
    rounds = Rounds()
    rounds.go(base, base + shorter)
    assert not rounds.hystart.is_conservative
    rounds = Rounds()
    rounds.go(base, base + threshold)
    assert rounds.hystart.is_conservative


def test_conservative_slow_start_grows_a_quarter_as_fast_and_ends_after_five_rounds() -> None:
    rounds = Rounds()
    assert rounds.go(80, 100) == [32_000, 32_000]
    assert rounds.go(100, 100, 100, 100) == [8000] * 4  # the round that found it out counts
    assert not rounds.hystart.is_over
    rounds.go(100)
    assert rounds.hystart.is_over


def test_a_round_trip_that_gets_short_again_resumes_slow_start() -> None:
    rounds = Rounds()
    rounds.go(80, 100, 100, 99)
    assert not rounds.hystart.is_conservative
    assert rounds.go(99) == [32_000]


def test_fewer_than_eight_samples_say_nothing() -> None:
    rounds = Rounds()
    rounds.go(80, 200, 400, samples=7)
    assert not rounds.hystart.is_conservative


# RFC 6937: SPEC 8.1.1-1


def test_the_proportional_part_of_rfc_6937() -> None:
    """§3.1: CEIL(prr_delivered * ssthresh / RecoverFS) - prr_out, while more is in flight than ssthresh."""
    prr = ProportionalRateReduction(ssthresh=7000, flight=10_000, packet_size=SIZE)
    assert prr.on_acked(1000, in_flight=9000, lost=1000) == 10_000  # one packet goes at once
    prr.on_sent(1000)
    assert prr.on_acked(2000, in_flight=8000, lost=0) == 8000 + 2100 - 1000
    prr.on_sent(1000)
    assert prr.on_acked(1000, in_flight=7500, lost=0) == 7500 + 2800 - 2000


def test_after_heavy_losses_it_fills_up_to_the_new_window_and_not_beyond() -> None:
    """§3.1, PRR-SSRB: as slow start, a packet more than what arrives, unless more gets lost."""
    prr = ProportionalRateReduction(ssthresh=5000, flight=10_000, packet_size=SIZE)
    assert prr.on_acked(1000, in_flight=1000, lost=8000) == 2000
    prr.on_sent(1000)
    assert prr.on_acked(1000, in_flight=1000, lost=0) == 3000
    prr.on_sent(2000)
    assert prr.on_acked(2000, in_flight=1000, lost=1000) == 3000
    prr.on_sent(2000)
    assert prr.on_acked(1000, in_flight=4500, lost=0) == 5000


def test_in_flight_beyond_the_new_window_waits_until_enough_has_arrived() -> None:
    prr = ProportionalRateReduction(ssthresh=5000, flight=10_000, packet_size=SIZE)
    prr.on_sent(3000)
    assert prr.on_acked(2000, in_flight=9000, lost=0) == 9000
