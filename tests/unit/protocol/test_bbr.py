"""What the BBR controller does that the draft's procedures do not look at (SPEC 8.1.3)."""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.bbr.constants import MAX_QUANTUM_BYTES, UNBOUNDED
from node.protocol.bbr.states import State
from node.protocol.congestion.base import initial_window
from node.protocol.congestion.bbr import Bbr
from node.protocol.time import MILLISECOND, SECOND, Instant
from tests.support.samples import ack_sample, loss_sample

SIZE = 1200
RTT = 50 * MILLISECOND
#: 12 Mbit/s: its product with RTT is 62.5 packets.
RATE = 1_500_000


class Driven:
    """A controller, and a path that delivers ``rate`` bytes a second in whole round trips."""

    def __init__(self) -> None:
        self.bbr = Bbr(SIZE, rng=Random(1))
        self.bbr.on_handshake_rtt(RTT, now=0)
        self.now: Instant = 0
        self.delivered = 0

    def round_trip(
        self, rate: int = RATE, *, in_flight: int | None = None, lost: int = 0, limited: bool = False
    ) -> None:
        """Acknowledge a round trip's bytes, after ``lost`` of them were declared lost."""
        self.now += RTT
        acked = rate * RTT // SECOND
        prior, self.delivered = self.delivered, self.delivered + acked
        in_flight = acked if in_flight is None else in_flight
        if lost:
            sample = loss_sample(lost, sent=self.now - RTT, now=self.now, prior_in_flight=in_flight + lost)
            self.bbr.on_lost(sample)
        self.bbr.on_ack(
            ack_sample(
                acked, sent=self.now - RTT, now=self.now, delivered=self.delivered, prior_delivered=prior,
                delivery_rate=rate, tx_in_flight=in_flight + lost, lost=lost, bytes_in_flight=in_flight,
                is_app_limited=limited,
            )
        )  # fmt: skip

    def state(self) -> State:
        """Return the state; a method, since it changes between any two looks."""
        return self.bbr.state

    def to(self, state: State) -> Bbr:
        """Go on until it is in ``state``."""
        for _ in range(200):
            if self.bbr.state is state:
                return self.bbr
            self.round_trip()
        raise AssertionError(f"never came to {state}, but to {self.bbr.state}")


def test_the_first_pacing_rate_is_that_of_startup_for_the_initial_window() -> None:
    """§5.6.2: SPEC 8.1.3-6."""
    bbr = Bbr(SIZE, rng=Random(1))
    assert bbr.pacing_rate is None
    bbr.on_handshake_rtt(RTT, now=0)
    assert bbr.pacing_rate == pytest.approx(2.77 * initial_window(SIZE) * SECOND / RTT, rel=0.001)
    assert bbr.send_quantum == 2 * SIZE


def test_without_a_handshake_sample_the_first_acknowledgement_gives_the_pacing_rate() -> None:
    bbr = Bbr(SIZE, rng=Random(1))
    bbr.on_ack(ack_sample(SIZE, sent=0, now=RTT))
    assert bbr.pacing_rate == pytest.approx(2.77 * initial_window(SIZE) * SECOND / RTT, rel=0.001)


def test_startup_never_slows_down() -> None:
    driven = Driven()
    driven.round_trip(RATE)
    before = driven.bbr.pacing_rate
    driven.round_trip(RATE // 10, limited=True)
    assert driven.bbr.pacing_rate == before


def test_the_window_is_twice_the_product_and_the_pace_a_little_below_the_bandwidth() -> None:
    bbr = Driven().to(State.PROBE_BW_CRUISE)
    assert bbr.model.bandwidth == RATE
    assert bbr.pacing_rate == RATE * 99 // 100
    assert bbr.congestion_window == pytest.approx(2 * RATE * RTT / SECOND, rel=0.6)  # and what is aggregated


@pytest.mark.parametrize(
    ("rate", "quantum"),
    [(SIZE, 2 * SIZE), (10_000_000, 9_900), (1 << 40, MAX_QUANTUM_BYTES)],
)
def test_a_quantum_is_what_the_path_takes_in_a_millisecond(rate: int, quantum: int) -> None:
    driven = Driven()
    for _ in range(12):
        driven.round_trip(rate, in_flight=0)
    assert driven.state() is not State.STARTUP
    driven.bbr.state = State.PROBE_BW_CRUISE
    driven.round_trip(rate, in_flight=0)
    assert driven.bbr.send_quantum == pytest.approx(quantum, abs=SIZE // 100)


def test_loss_while_cruising_lowers_the_short_term_model_once_a_round_trip() -> None:
    """SPEC 8.1.3-3."""
    driven = Driven()
    bbr = driven.to(State.PROBE_BW_CRUISE)
    driven.round_trip()
    driven.round_trip(RATE * 9 // 10, lost=5 * SIZE)
    assert bbr.model.short_term.bandwidth == UNBOUNDED
    driven.round_trip(RATE * 9 // 10, lost=5 * SIZE)
    assert bbr.model.short_term.bandwidth == RATE  # that much was delivered before the loss
    driven.round_trip(RATE * 9 // 10, lost=5 * SIZE)
    driven.round_trip(RATE * 9 // 10)
    assert bbr.model.short_term.bandwidth == RATE * 9 // 10
    assert bbr.model.bandwidth == RATE * 9 // 10
    driven.round_trip(RATE * 8 // 10)
    assert bbr.model.short_term.bandwidth == RATE * 9 // 10  # nothing was lost


def test_what_startup_sent_and_lost_is_not_answered_again_after_it() -> None:
    """SPEC 8.1.3-3"""
    driven = Driven()
    bbr = driven.to(State.PROBE_BW_CRUISE)  # Drain is over with the acknowledgement that begins it
    sent = driven.now
    for _ in range(6):
        driven.bbr.on_lost(loss_sample(5 * SIZE, sent=sent, now=driven.now, prior_in_flight=60 * SIZE))
        driven.round_trip(RATE // 2)
    assert bbr.model.short_term.bandwidth == UNBOUNDED
    for _ in range(4):
        now = driven.now
        driven.bbr.on_lost(loss_sample(5 * SIZE, sent=sent + 1, now=now, prior_in_flight=60 * SIZE))
        driven.round_trip(RATE // 2)
    assert bbr.model.short_term.bandwidth < RATE


def by_chance(driven: Driven, share: float = 0.05) -> None:
    """Spend a round trip on a path that loses a share of all that is sent, whatever that is."""
    bbr = driven.bbr
    sent = min(RATE, bbr.model.bandwidth if bbr.model.full_pipe.reached else RATE)
    window = sent * RTT // SECOND
    driven.round_trip(int(sent * (1 - share)), in_flight=window, lost=int(window * share))


def test_once_loss_is_known_for_chance_its_bounds_go_and_the_path_is_probed_at_once() -> None:
    """SPEC 8.1.3-10"""
    driven = Driven()
    bbr = driven.to(State.PROBE_BW_CRUISE)
    bbr.model.long_term.inflight = 40 * SIZE  # as a probe that lost by chance set it
    bounded = False
    for _ in range(60):
        by_chance(driven)
        if bbr.model.random_loss.ratio:
            break
        bounded = bbr.model.short_term.bandwidth < UNBOUNDED
    assert bounded
    assert driven.state() is State.PROBE_BW_REFILL
    assert bbr.model.short_term.bandwidth == bbr.model.long_term.inflight == UNBOUNDED


def test_startup_goes_on_when_the_loss_that_ended_it_was_chance() -> None:
    """SPEC 8.1.3-10"""
    driven = Driven()
    bbr = driven.bbr
    driven.round_trip()
    for _ in range(6):
        bbr.on_lost(loss_sample(SIZE, sent=driven.now, now=driven.now + RTT, prior_in_flight=60 * SIZE))
    for _ in range(2):  # six runs, and more than 2 % of the round trip that begins with them
        driven.round_trip(lost=2 * SIZE)
    assert driven.state() is not State.STARTUP
    for _ in range(60):
        by_chance(driven)
        if bbr.model.random_loss.ratio:
            break
    assert driven.state() is State.STARTUP
    driven.to(State.PROBE_BW_DOWN)  # and ends as ever


@pytest.mark.parametrize("known", [True, False])
def test_what_a_probe_lost_is_answered_by_its_end_alone_where_loss_is_known_for_chance(known: bool) -> None:
    """SPEC 8.1.3-10; elsewhere the draft's rule holds."""
    driven = Driven()
    bbr = driven.to(State.PROBE_BW_UP)
    bbr.model.random_loss.ratio = 0.05 if known else 0.0
    driven.to(State.PROBE_BW_DOWN)
    sent = driven.now
    for _ in range(3):
        driven.bbr.on_lost(loss_sample(20 * SIZE, sent=sent, now=driven.now, prior_in_flight=60 * SIZE))
        driven.round_trip(RATE * 9 // 10)
    assert (bbr.model.short_term.bandwidth == UNBOUNDED) is known


def test_the_next_probe_forgets_what_loss_lowered() -> None:
    driven = Driven()
    bbr = driven.to(State.PROBE_BW_CRUISE)
    driven.round_trip(RATE * 9 // 10, lost=5 * SIZE)
    driven.to(State.PROBE_BW_REFILL)
    assert bbr.model.short_term.bandwidth == UNBOUNDED
    assert bbr.model.bandwidth == RATE


def test_loss_is_answered_once_a_probe() -> None:
    driven = Driven()
    bbr = driven.to(State.PROBE_BW_UP)
    driven.bbr.on_lost(loss_sample(10 * SIZE, sent=driven.now, now=driven.now, prior_in_flight=100 * SIZE))
    bound = bbr.model.long_term.inflight
    assert driven.state() is State.PROBE_BW_DOWN
    driven.bbr.on_lost(loss_sample(50 * SIZE, sent=driven.now, now=driven.now, prior_in_flight=60 * SIZE))
    assert bbr.model.long_term.inflight == bound


def test_after_too_much_loss_the_next_probe_ends_at_the_bound_and_a_third_follows_at_once() -> None:
    """§5.3.3.5: precautionary bandwidth probing."""
    driven = Driven()
    bbr = driven.to(State.PROBE_BW_UP)
    driven.bbr.on_lost(loss_sample(10 * SIZE, sent=driven.now, now=driven.now, prior_in_flight=100 * SIZE))
    driven.to(State.PROBE_BW_UP)
    assert bbr.cycle.too_high
    driven.round_trip(in_flight=bbr.model.long_term.inflight)
    assert driven.state() is State.PROBE_BW_DOWN
    assert bbr.cycle.precautionary
    driven.round_trip(in_flight=bbr.model.long_term.inflight)
    assert driven.state() is State.PROBE_BW_REFILL
    assert not bbr.cycle.precautionary


def test_a_mark_ends_startup_with_its_round_trip() -> None:
    """SPEC 8.1.3-5: ECN-CE is congestion."""
    driven = Driven()
    driven.round_trip()
    driven.bbr.on_congestion_experienced(newest_sent=0, now=driven.now)
    driven.round_trip(2 * RATE)
    driven.round_trip(4 * RATE)
    assert driven.bbr.model.full_pipe.reached
    assert driven.state() is not State.STARTUP


def test_a_mark_ends_probing_and_bounds_what_is_in_flight() -> None:
    """SPEC 8.1.3-5"""
    driven = Driven()
    bbr = driven.to(State.PROBE_BW_UP)
    bbr.on_congestion_experienced(newest_sent=driven.now, now=driven.now)
    driven.round_trip(in_flight=70 * SIZE)
    assert bbr.model.long_term.inflight == pytest.approx(70 * SIZE, abs=SIZE)
    assert driven.state() in (State.PROBE_BW_DOWN, State.PROBE_BW_CRUISE)


def test_a_mark_while_cruising_lowers_the_short_term_model() -> None:
    """SPEC 8.1.3-5"""
    driven = Driven()
    bbr = driven.to(State.PROBE_BW_CRUISE)
    for _ in range(4):
        bbr.on_congestion_experienced(newest_sent=driven.now, now=driven.now)
        driven.round_trip(RATE * 9 // 10)
    driven.round_trip(RATE * 9 // 10)
    assert bbr.model.short_term.bandwidth == RATE * 9 // 10


def test_persistent_congestion_falls_to_the_minimum_and_recovery_brings_the_window_back() -> None:
    """SPEC 8.1.3-4"""
    driven = Driven()
    bbr = driven.to(State.PROBE_BW_CRUISE)
    before = bbr.congestion_window
    bbr.on_lost(loss_sample(before, sent=driven.now, now=driven.now))
    bbr.on_persistent_congestion()
    assert bbr.congestion_window == 2 * SIZE
    driven.round_trip(RATE // 2)
    assert bbr.congestion_window >= 4 * SIZE
    driven.round_trip()
    driven.round_trip()
    assert bbr.congestion_window > before // 2


def test_a_spurious_loss_that_ended_startup_leads_back_to_it() -> None:
    """SPEC 8.1.3-7"""
    driven = Driven()
    rate = RATE // 8
    for _ in range(4):
        driven.round_trip(rate)
        rate *= 2
    bbr = driven.bbr
    assert driven.state() is State.STARTUP
    for _ in range(6):  # six separate runs in one round trip
        bbr.on_lost(loss_sample(SIZE, sent=driven.now, now=driven.now))
    driven.round_trip(rate, in_flight=10 * SIZE, lost=10 * SIZE)
    driven.round_trip(rate, in_flight=100 * SIZE, lost=10 * SIZE)
    assert driven.state() is not State.STARTUP
    bbr.on_spurious_loss()
    assert driven.state() is State.STARTUP
    assert not bbr.model.full_pipe.reached
    assert bbr.model.long_term.inflight == UNBOUNDED


def test_a_spurious_loss_without_a_loss_changes_nothing() -> None:
    driven = Driven()
    bbr = driven.to(State.PROBE_BW_CRUISE)
    before = (bbr.congestion_window, bbr.pacing_rate, bbr.state)
    bbr.on_spurious_loss()
    assert (bbr.congestion_window, bbr.pacing_rate, bbr.state) == before
