"""The estimators of BBR, each by itself (draft-ietf-ccwg-bbr §5.3 to §5.5)."""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.bbr.aggregation import AckAggregation
from node.protocol.bbr.constants import MIN_RTT_WINDOW, UNBOUNDED
from node.protocol.bbr.cycle import ProbeCycle
from node.protocol.bbr.filters import TwoCycleMaximum, WindowedMaximum
from node.protocol.bbr.full_pipe import FullPipe
from node.protocol.bbr.long_term import LongTermModel, inflight_at_loss, is_too_high
from node.protocol.bbr.min_rtt import MinRtt
from node.protocol.bbr.path_model import PathModel
from node.protocol.bbr.recovery_period import RecoveryPeriod
from node.protocol.bbr.rounds import Rounds
from node.protocol.bbr.short_term import ShortTermModel
from node.protocol.bbr.states import GAINS, PROBE_BW, TRANSITIONS, Event, State, volume_cap
from node.protocol.time import MILLISECOND, SECOND

SIZE = 1000


def test_the_bandwidth_filter_remembers_this_cycle_and_the_last() -> None:
    filter_ = TwoCycleMaximum()
    filter_.update(100)
    filter_.update(80)
    assert filter_.value == 100
    filter_.advance()
    filter_.update(50)
    assert filter_.value == 100
    filter_.advance()
    assert filter_.value == 50
    filter_.advance()  # a cycle without a sample does not count: the filter is never empty
    assert filter_.value == 50


@pytest.mark.parametrize("seed", range(5))
def test_the_windowed_maximum_stays_between_the_newest_and_the_true_maximum(seed: int) -> None:
    """Three samples cannot hold them all: what it says was seen, and is never below the newest."""
    rng, filter_, seen = Random(seed), WindowedMaximum(), list[tuple[int, int]]()
    time = 0
    for _ in range(500):
        time += rng.randrange(3)
        value = rng.randrange(1000)
        seen.append((time, value))
        found = filter_.update(value, time=time, window=10)
        assert found == filter_.value
        assert value <= found <= max(v for at, v in seen if time - at <= 10)


def test_the_windowed_maximum_forgets_what_is_out_of_the_window() -> None:
    filter_ = WindowedMaximum()
    filter_.update(100, time=0, window=10)
    for time in range(1, 11):
        assert filter_.update(10, time=time, window=10) == 100
    assert filter_.update(10, time=11, window=10) == 10


def test_a_round_trip_ends_with_a_packet_sent_after_it_began() -> None:
    rounds = Rounds()
    rounds.update(prior_delivered=0, delivered=10)
    assert (rounds.started, rounds.count) == (True, 1)
    rounds.update(prior_delivered=9, delivered=20)
    assert (rounds.started, rounds.count) == (False, 1)
    rounds.update(prior_delivered=10, delivered=30)
    assert (rounds.started, rounds.count, rounds.since_probe_up) == (True, 2, 2)


def test_a_window_that_was_used_up_counts_for_this_round_trip_and_the_next() -> None:
    rounds = Rounds()
    rounds.note_window_limited()
    seen = []
    for delivered in (10, 20, 30):
        rounds.update(prior_delivered=delivered, delivered=delivered)
        seen.append(rounds.window_limited)
    assert seen == [True, False, False]


def test_three_round_trips_without_a_quarter_more_mean_a_full_pipe() -> None:
    pipe = FullPipe()
    for rate in (100, 125, 157, 160, 155):
        pipe.update(rate, round_started=True, app_limited=False)
    assert (pipe.now, pipe.count) == (False, 3 - 1)
    pipe.update(170, round_started=False, app_limited=False)  # only the first of a round trip counts,
    pipe.update(170, round_started=True, app_limited=True)  # and only what the application did not limit
    assert pipe.count == 2
    pipe.update(170, round_started=True, app_limited=False)
    assert (pipe.now, pipe.reached) == (True, True)
    pipe.reset(170)
    assert (pipe.now, pipe.reached) == (False, True)


def test_what_is_acknowledged_beyond_the_bandwidth_counts_as_aggregation() -> None:
    aggregation = AckAggregation()
    given = {"bandwidth": 1000, "window": 100_000, "pipe_was_full": True}
    aggregation.update(100, now=SECOND, round_count=1, **given)  # type: ignore[arg-type]
    aggregation.update(500, now=SECOND + SECOND // 20, round_count=1, **given)  # type: ignore[arg-type]
    assert aggregation.extra_acked == 600 - 50
    aggregation.restart(2 * SECOND)
    aggregation.update(100, now=2 * SECOND, round_count=2, **given)  # type: ignore[arg-type]
    assert aggregation.extra_acked == 600 - 50
    aggregation.update(100, now=4 * SECOND, round_count=13, **given)  # type: ignore[arg-type]
    assert aggregation.extra_acked == 100


def test_aggregation_is_bounded_by_the_window() -> None:
    aggregation = AckAggregation()
    aggregation.update(5000, now=1, bandwidth=0, window=700, round_count=1, pipe_was_full=False)
    assert aggregation.extra_acked == 700


def short_term(*, lossy: bool, probing: bool, latest: int) -> ShortTermModel:
    """Return the model after one round trip."""
    model = ShortTermModel()
    model.take_delivery(delivery_rate=100, inflight=10, prior_delivered=0, delivered=10)
    model.end_acknowledgement(delivery_rate=0, inflight=0)
    if lossy:
        model.note_loss()
    model.take_delivery(delivery_rate=latest, inflight=latest // 10, prior_delivered=10, delivered=20)
    assert model.round_started is not lossy  # a loss begins a round trip of watching
    model.take_delivery(delivery_rate=latest, inflight=latest // 10, prior_delivered=20, delivered=30)
    model.adapt(max_bandwidth=1000, window=500, probing=probing, allowance=lambda sent: 0)
    return model


@pytest.mark.parametrize(
    ("lossy", "probing", "latest", "bandwidth", "inflight"),
    [
        (True, False, 900, 900, 350),  # what was delivered, not below 0.7 of the model
        (True, False, 100, 700, 350),
        (True, False, 4000, 4000, 400),
        (True, True, 100, UNBOUNDED, UNBOUNDED),
        (False, False, 100, UNBOUNDED, UNBOUNDED),
    ],
)
def test_a_round_trip_with_loss_lowers_the_short_term_model(
    lossy: bool, probing: bool, latest: int, bandwidth: int, inflight: int
) -> None:
    model = short_term(lossy=lossy, probing=probing, latest=latest)
    assert (model.bandwidth, model.inflight) == (bandwidth, inflight)
    assert not model.loss_in_round
    model.reset()
    assert (model.bandwidth, model.inflight) == (UNBOUNDED, UNBOUNDED)


@pytest.mark.parametrize(("second", "bandwidth"), [(4, UNBOUNDED), (5, 900)])
def test_loss_by_chance_is_judged_by_the_whole_round_trip(second: int, bandwidth: int) -> None:
    """SPEC 8.1.3-10: eleven came; of some twenty sent chance may take eight, at whatever pace they went."""
    model = ShortTermModel()
    model.take_delivery(delivery_rate=100, inflight=10, prior_delivered=0, delivered=10)
    model.note_chance(4)
    model.take_delivery(delivery_rate=900, inflight=10, prior_delivered=5, delivered=15)
    model.note_chance(second)
    model.take_delivery(delivery_rate=900, inflight=10, prior_delivered=10, delivered=21)
    model.adapt(max_bandwidth=1000, window=500, probing=False, allowance={19: 8, 20: 8}.__getitem__)
    assert model.bandwidth == bandwidth
    # It was judged, and is not judged again with the next round trip.
    model.take_delivery(delivery_rate=100, inflight=10, prior_delivered=21, delivered=40)
    model.adapt(max_bandwidth=1000, window=500, probing=False, allowance={19: 0}.__getitem__)
    assert model.bandwidth == bandwidth


def test_two_per_cent_of_what_was_in_flight_may_be_lost() -> None:
    assert not is_too_high(lost=20, tx_in_flight=1000)
    assert is_too_high(lost=21, tx_in_flight=1000)


def test_the_loss_threshold_is_looked_for_within_the_burst() -> None:
    # 980 bytes went well before a burst of 100 of which 40 are lost: the first 20 or so still fitted.
    assert inflight_at_loss(lost=40, tx_in_flight=1020, size=40) == 980 + 20
    # Too much was lost before it already: the bound lies below what was in flight then.
    assert inflight_at_loss(lost=140, tx_in_flight=1040, size=40) == 1000 - int((100 - 20) / 0.98)
    assert inflight_at_loss(lost=5000, tx_in_flight=1000, size=10) == 0


def test_the_long_term_bound_grows_by_one_two_four_packets_a_round_trip() -> None:
    model = LongTermModel(SIZE)
    model.inflight = 64 * SIZE
    model.begin_refill()
    model.steepen(64 * SIZE)
    grown = []
    for _ in range(5):
        window, before = model.inflight, model.inflight
        for number in range(64):
            model.grow(window // 64, window=model.inflight, window_limited=True, round_started=number == 63)
        grown.append((model.inflight - before) / SIZE)
    assert grown == pytest.approx([1, 2, 4, 8, 16], abs=2)
    model.stop_growing()
    before = model.inflight
    model.grow(1 << 40, window=before, window_limited=True, round_started=False)
    assert model.inflight == before


def test_the_long_term_bound_does_not_grow_unused() -> None:
    model = LongTermModel(SIZE)
    model.inflight = 64 * SIZE
    model.steepen(64 * SIZE)
    model.grow(1 << 30, window=64 * SIZE, window_limited=False, round_started=True)
    model.grow(1 << 30, window=63 * SIZE, window_limited=True, round_started=True)
    assert model.inflight == 64 * SIZE


@pytest.mark.parametrize(
    ("inflight", "left"),
    [(UNBOUNDED, UNBOUNDED), (100 * SIZE, 85 * SIZE), (6 * SIZE, 5 * SIZE), (2 * SIZE, 4 * SIZE)],
)
def test_headroom_is_left_to_others(inflight: int, left: int) -> None:
    model = LongTermModel(SIZE)
    model.inflight = inflight
    assert model.with_headroom == left


def test_min_rtt_counts_ten_seconds() -> None:
    min_rtt = MinRtt()
    min_rtt.update(50, 0)
    min_rtt.update(60, MIN_RTT_WINDOW)
    assert (min_rtt.value, min_rtt.expired) == (50, False)
    min_rtt.update(60, MIN_RTT_WINDOW + 1)
    assert (min_rtt.value, min_rtt.expired) == (60, True)
    min_rtt.schedule(MIN_RTT_WINDOW + 2)
    assert not min_rtt.is_expired(2 * MIN_RTT_WINDOW + 2)
    assert min_rtt.is_expired(2 * MIN_RTT_WINDOW + 3)


def test_the_wait_between_probes_is_two_to_three_seconds_and_spread() -> None:
    cycle, waits, rounds = ProbeCycle(Random(1)), [], set[int]()
    for _ in range(200):
        rounds.add(cycle.begin(0))
        waits.append(cycle.wait)
    assert 2 * SECOND <= min(waits) < 2.1 * SECOND
    assert 2.9 * SECOND < max(waits) < 3 * SECOND
    assert rounds == {0, 1}
    assert not cycle.is_time_to_probe(now=cycle.wait, rounds=0, target_packets=100)
    assert cycle.is_time_to_probe(now=cycle.wait + 1, rounds=0, target_packets=100)


@pytest.mark.parametrize(("target", "rounds"), [(10, 10), (62, 62), (1000, 63)])
def test_small_flows_probe_as_often_as_reno(target: int, rounds: int) -> None:
    cycle = ProbeCycle(Random(1))
    cycle.begin(0)
    assert not cycle.is_time_to_probe(now=1, rounds=rounds - 1, target_packets=target)
    assert cycle.is_time_to_probe(now=1, rounds=rounds, target_packets=target)


def test_a_recovery_period_lasts_until_a_packet_sent_in_it_is_acknowledged() -> None:
    period = RecoveryPeriod()
    assert not period.note_acknowledged(5)
    period.note_loss(10, ranges=1, marked=False)
    period.note_loss(12, ranges=1, marked=False)
    assert period.active
    assert not period.note_acknowledged(10)
    assert period.note_acknowledged(11)
    assert not period.active


@pytest.mark.parametrize(
    ("ranges", "marked", "too_high", "ends"),
    [(6, False, True, True), (5, False, True, False), (6, False, False, False), (0, True, False, True)],
)
def test_six_runs_and_too_much_loss_or_a_mark_end_startup(
    ranges: int, marked: bool, too_high: bool, ends: bool
) -> None:
    period = RecoveryPeriod()
    period.note_loss(1, ranges=ranges, marked=marked)
    assert period.end_round(is_too_high=too_high) is ends
    assert not period.end_round(is_too_high=True)  # each round trip counts for itself


def test_samples_of_what_probe_rtt_throttled_are_known_again() -> None:
    model = PathModel(max_datagram_size=SIZE, initial_window=10 * SIZE)
    assert not model.is_throttled(0)
    model.delivered = 5000
    model.throttle(1000)
    assert [model.is_throttled(prior) for prior in (4999, 5000, 6000)] == [False, True, True]
    model.delivered = 5500
    model.throttle(1000)
    assert model.is_throttled(5000)
    assert not model.is_throttled(6501)
    assert not model.is_throttled(5000)  # it is over


def test_without_a_round_trip_the_product_is_the_initial_window() -> None:
    model = PathModel(max_datagram_size=SIZE, initial_window=10 * SIZE)
    assert model.bdp() == 10 * SIZE
    model.min_rtt.update(100 * MILLISECOND, 0)
    model.max_bandwidth.update(1_000_000)
    model.bound_bandwidth()
    assert (model.bdp(), model.bdp(2.0)) == (100_000, 200_000)
    assert model.quantized(100_000, quantum=5000, state=State.PROBE_BW_CRUISE) == 100_000
    assert model.quantized(100_000, quantum=5000, state=State.PROBE_BW_UP) == 102_000
    assert model.quantized(100, quantum=5000, state=State.DRAIN) == 5000
    assert model.quantized(100, quantum=0, state=State.DRAIN) == 4 * SIZE


def test_every_state_can_be_left_and_the_cycle_is_closed() -> None:
    assert {state for state, _ in TRANSITIONS} == set(State)
    state, seen = State.STARTUP, []
    for event in (Event.PIPE_FULL, Event.DRAINED, Event.ROOM, Event.PROBE, Event.REFILLED, Event.LIMIT):
        state = TRANSITIONS[state, event]
        seen.append(state)
    assert seen[0] is State.DRAIN
    assert seen[1] is seen[5] is State.PROBE_BW_DOWN
    assert set(seen[1:]) == PROBE_BW


@pytest.mark.parametrize(
    ("state", "pacing", "window", "cap"),
    [
        (State.STARTUP, 2.77, 2.0, UNBOUNDED),
        (State.DRAIN, 0.5, 2.0, UNBOUNDED),
        (State.PROBE_BW_DOWN, 0.9, 2.0, 100),
        (State.PROBE_BW_CRUISE, 1.0, 2.0, 85),
        (State.PROBE_BW_REFILL, 1.0, 2.0, 100),
        (State.PROBE_BW_UP, 1.25, 2.25, 100),
        (State.PROBE_RTT, 1.0, 0.5, 85),
    ],
)
def test_gains_and_bounds_are_those_of_the_drafts_table(
    state: State, pacing: float, window: float, cap: int
) -> None:
    """§5.6.1; in Drain the pseudocode of §5.6.4.7 applies no long-term bound, and so neither do we."""
    assert (GAINS[state].pacing, GAINS[state].window) == (pacing, window)
    assert volume_cap(state, longterm=100, with_headroom=85) == cap
