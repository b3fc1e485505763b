"""RFC 9002 as behaviours."""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.congestion.new_reno import NewReno
from node.protocol.recovery.ack_frequency import wanted_frequency
from node.protocol.recovery.acknowledgements import MAX_KEPT_RANGES, Acknowledgements
from node.protocol.recovery.loss import detect_lost
from node.protocol.recovery.manager import Recovery
from node.protocol.recovery.pacer import Pacer
from node.protocol.recovery.persistent_congestion import is_persistent
from node.protocol.recovery.rtt import INITIAL_RTT, RttEstimator
from node.protocol.recovery.sent_packets import SentBurst, SentPackets, runs
from node.protocol.time import MILLISECOND, SECOND, Duration
from node.protocol.wire.frames import MAX_ACK_RANGES, Ack, AckFrequency
from tests.support.samples import ack_sample, loss_sample

SIZE = 1200


def burst(first: int, count: int, time_sent: int) -> SentBurst:
    return SentBurst(first, count, time_sent, size=SIZE, last_size=SIZE)


# RFC 9002 §5


def test_the_first_sample_sets_all_estimates() -> None:
    rtt = RttEstimator()
    assert (rtt.smoothed_rtt, rtt.rttvar) == (INITIAL_RTT, INITIAL_RTT // 2)
    rtt.update(100, ack_delay=90)  # §5.3: the delay of the first sample is ignored
    assert (rtt.min_rtt, rtt.smoothed_rtt, rtt.rttvar) == (100, 100, 50)


def test_ack_delay_is_taken_off_but_never_below_min_rtt() -> None:
    rtt = RttEstimator()
    rtt.update(1000, 0)
    rtt.update(1800, 800)
    assert rtt.smoothed_rtt == 1000
    rtt.update(1400, 800)  # would go below min_rtt: not taken off
    assert rtt.smoothed_rtt == (7 * 1000 + 1400) // 8


def test_the_probe_timeout_is_srtt_plus_four_rttvar_plus_ack_delay() -> None:
    rtt = RttEstimator()
    rtt.update(100 * MILLISECOND, 0)
    assert rtt.probe_timeout(25 * MILLISECOND) == (100 + 4 * 50 + 25) * MILLISECOND


def test_a_shorter_round_trip_than_the_handshakes_begins_the_estimates_anew() -> None:
    """SPEC 8: the time of key agreement, which it holds, would slow pacing down for long."""
    rtt = RttEstimator()
    rtt.begin(160 * MILLISECOND)
    assert (rtt.smoothed_rtt, rtt.rttvar) == (160 * MILLISECOND, 80 * MILLISECOND)
    rtt.update(MILLISECOND, 0)
    assert (rtt.latest_rtt, rtt.min_rtt, rtt.smoothed_rtt) == (MILLISECOND,) * 3
    assert rtt.rttvar == MILLISECOND // 2
    assert rtt.quantiles([("max", 1000)]) == {"max": MILLISECOND}
    rtt.update(MILLISECOND // 2, 0)  # all that follow are averaged
    assert rtt.smoothed_rtt == (7 * MILLISECOND + MILLISECOND // 2) // 8


@pytest.mark.parametrize("first", [160, 161])
def test_no_shorter_round_trip_than_the_handshakes_is_averaged_with_it(first: int) -> None:
    rtt = RttEstimator()
    rtt.begin(160 * MILLISECOND)
    rtt.update(first * MILLISECOND, 0)
    rtt.update(80 * MILLISECOND, 0)  # not the first any more
    smoothed = (7 * 160 + first) * MILLISECOND // 8
    assert rtt.smoothed_rtt == (7 * smoothed + 80 * MILLISECOND) // 8
    assert rtt.rttvar > 60 * MILLISECOND


# RFC 9002 §6.1


@pytest.mark.parametrize("scale", [1, 1_000, 1_000_000, 60_000_000_000])
def test_quantiles_of_samples_are_nearest_ranks_to_two_percent(scale: int) -> None:
    random, rtt = Random(scale), RttEstimator()
    samples = [scale + random.randrange(9 * scale + 1) for _ in range(5_000)]
    for sample in samples:
        rtt.update(sample, 0)
    samples.sort()
    found = rtt.quantiles([("p99", 990), ("min", 0), ("p50", 500), ("max", 1000)])
    assert (found["min"], found["max"]) == (samples[0], samples[-1])
    for name, place in (("p50", 2_500), ("p99", 4_950)):
        assert abs(found[name] / samples[place] - 1) <= 0.016


def test_quantiles_of_one_sample_and_of_none() -> None:
    rtt = RttEstimator()
    assert rtt.quantiles([("p50", 500)]) == {}
    rtt.update(12_345, 0)
    assert rtt.quantiles([("min", 0), ("p50", 500), ("max", 1000)]) == dict.fromkeys(
        ("min", "p50", "max"), 12_345
    )


def test_what_the_peer_held_back_is_no_part_of_a_quantile() -> None:
    rtt = RttEstimator()
    for _ in range(9):
        rtt.update(10_000, 0)
        rtt.update(15_000, 5_000)
    assert rtt.quantiles([("max", 1000)]) == {"max": 10_000}


def test_three_later_packets_make_a_packet_lost_and_two_do_not() -> None:
    record = burst(0, 10, time_sent=0)
    record.acked = 1 << 4
    lost, again = detect_lost([record], largest_acked=4, packet_threshold=3, loss_delay=SECOND, now=1)
    assert lost == [(record, 0b00011)]  # 0 and 1 are three or more behind
    assert again == SECOND  # 2 and 3 are looked at when the time threshold comes


def test_time_makes_an_earlier_packet_lost() -> None:
    record = burst(0, 3, time_sent=0)
    record.acked = 0b100
    lost, again = detect_lost(
        [record], largest_acked=2, packet_threshold=3, loss_delay=SECOND, now=SECOND - 1
    )
    assert (lost, again) == ([], SECOND)
    lost, again = detect_lost([record], largest_acked=2, packet_threshold=3, loss_delay=SECOND, now=SECOND)
    assert (lost, again) == ([(record, 0b011)], None)


def test_packets_after_the_largest_acknowledged_are_not_lost() -> None:
    lost, _ = detect_lost([burst(5, 4, 0)], largest_acked=4, packet_threshold=3, loss_delay=1, now=SECOND)
    assert lost == []


# RFC 9002 §7.6


def test_losses_over_three_probe_timeouts_are_persistent_congestion() -> None:
    first, second, third = burst(0, 1, 10), burst(1, 1, 40), burst(2, 1, 71)
    lost = [(r, r.full) for r in (first, second, third)]
    assert is_persistent(lost, probe_timeout=20, first_sample=0)
    assert not is_persistent(lost, probe_timeout=21, first_sample=0)
    assert not is_persistent(lost, probe_timeout=20, first_sample=None)
    assert not is_persistent(lost, probe_timeout=20, first_sample=11)  # the first was before


def test_a_packet_acknowledged_in_between_breaks_the_period() -> None:
    lost = [(r, r.full) for r in (burst(0, 1, 10), burst(2, 1, 100))]
    assert not is_persistent(lost, probe_timeout=20, first_sample=0)


# records


def test_runs_of_bits_are_found_from_the_lowest() -> None:
    assert list(runs(0b1100_1011)) == [(0, 2), (3, 4), (6, 8)]
    assert list(runs(0)) == []


def test_the_last_packet_of_a_burst_may_be_shorter() -> None:
    record = SentBurst(0, 3, 0, size=1000, last_size=10)
    assert [record.bytes_of(mask) for mask in (0b001, 0b100, 0b111)] == [1000, 10, 2010]


def test_sent_packets_are_found_by_range_and_forgotten_from_the_front() -> None:
    sent = SentPackets()
    records = [burst(first, 10, 0) for first in range(0, 2000, 10)]
    for record in records:
        sent.append(record)
    assert list(sent.overlapping(15, 31)) == records[1:4]
    for record in records[:150]:
        record.acked = record.full
    sent.trim()
    assert len(sent) == 50
    assert list(sent.overlapping(0, 1501)) == [records[150]]


# RFC 9002 §7


def test_loss_halves_the_window() -> None:
    reno = NewReno(1200)
    reno.on_lost(loss_sample(1200, sent=5, now=10))
    assert reno.ssthresh == 6000
    reno.on_lost(loss_sample(1200, sent=11, now=20))
    assert reno.ssthresh == 3000


def test_congestion_avoidance_grows_by_a_packet_a_window() -> None:
    reno = NewReno(1200)
    reno.on_lost(loss_sample(1200, sent=5, now=10))
    for _ in range(4):
        reno.on_ack(ack_sample(1200, sent=11, now=12))
    assert reno.congestion_window == 6000
    reno.on_ack(ack_sample(1200, sent=11, now=12))
    assert reno.congestion_window == 7200


def test_the_window_never_falls_below_two_packets() -> None:
    reno = NewReno(1200)
    for time in range(20):
        reno.on_lost(loss_sample(1200, sent=2 * time + 1, now=2 * time + 2))
    assert reno.congestion_window == reno.ssthresh == 2400


def test_the_pacer_lets_a_window_and_a_quarter_go_in_a_round_trip() -> None:
    pacer = Pacer(0)
    pacer.set_rate(None, congestion_window=100_000, smoothed_rtt=100 * MILLISECOND)
    sent = now = 0
    while now < 10 * SECOND:
        allowed = pacer.allowance(packet_size=1000, wanted=1 << 30, now=now)
        if allowed:
            pacer.on_sent(allowed // 1000 * 1000)
            sent += allowed // 1000 * 1000
        else:
            now = pacer.next_time(packet_size=1000, wanted=1 << 30, now=now)
    assert abs(sent - 12_500_000) < 10_000


def test_a_controller_may_set_rate_and_burst() -> None:
    pacer = Pacer(0)
    pacer.set_rate(1_000_000, congestion_window=100, smoothed_rtt=SECOND)
    pacer.quantum = 7000
    assert pacer.allowance(packet_size=1000, wanted=1 << 30, now=0) == 0
    assert pacer.next_time(packet_size=1000, wanted=1 << 30, now=0) == 3_500_000  # half a burst
    assert pacer.allowance(packet_size=1000, wanted=1 << 30, now=SECOND) == 7000


def test_a_long_pause_does_not_save_up_tokens() -> None:
    pacer = Pacer(0)
    pacer.set_rate(None, congestion_window=100_000, smoothed_rtt=100 * MILLISECOND)
    assert pacer.allowance(packet_size=1000, wanted=1 << 30, now=0) == 0
    assert pacer.allowance(packet_size=1000, wanted=1 << 30, now=60 * SECOND) == 2000


# RFC 9000 §13.2, SPEC 4-2 and 5-3


def is_owed(acks: Acknowledgements) -> bool:
    return acks.deadline is not None


def test_every_second_packet_is_acknowledged_at_once() -> None:
    acks = Acknowledgements(max_ack_delay=25, at_once=False)
    acks.on_received(0, 1, 1, now=100)
    assert acks.deadline == 125
    acks.on_received(1, 2, 1, now=110)
    assert acks.deadline == 110
    frame = acks.frame(now=110)
    assert frame is not None
    assert frame.ranges == ((0, 2),)
    assert not is_owed(acks)


def test_a_gap_is_reported_at_once() -> None:
    acks = Acknowledgements(max_ack_delay=25, at_once=False)
    acks.on_received(0, 1, 1, now=0)
    acks.frame(now=0)
    acks.on_received(2, 3, 1, now=5)
    assert acks.deadline == 5


def test_a_packet_that_elicits_nothing_is_not_acknowledged_by_itself() -> None:
    acks = Acknowledgements(max_ack_delay=25, at_once=True)
    acks.on_received(0, 1, 0, now=0)
    assert acks.deadline is None


def test_duplicates_are_told_from_news_and_the_very_old_count_as_duplicates() -> None:
    acks = Acknowledgements(max_ack_delay=25, at_once=False)
    for number in range(0, 4 * MAX_KEPT_RANGES, 2):
        assert not acks.is_duplicate(number)
        acks.on_received(number, number + 1, 1, now=0)
        assert acks.is_duplicate(number)
    assert acks.is_duplicate(1)  # never came, but is too old to be told from one that did
    assert not acks.is_duplicate(4 * MAX_KEPT_RANGES - 3)
    assert len(acks.received) == MAX_KEPT_RANGES
    frame = acks.frame(now=0)
    assert frame is not None
    assert len(frame.ranges) == MAX_ACK_RANGES
    assert frame.ranges[0] == (4 * MAX_KEPT_RANGES - 2, 4 * MAX_KEPT_RANGES - 1)


def test_a_pacer_loses_no_tokens_however_often_it_is_asked() -> None:
    pacer = Pacer(0)
    pacer.set_rate(None, congestion_window=800, smoothed_rtt=SECOND)  # 1000 bytes a second
    for now in range(0, SECOND + 1, MILLISECOND + 1):
        pacer.allowance(packet_size=1200, wanted=1200, now=now)
    assert pacer.allowance(packet_size=1000, wanted=1000, now=SECOND) == 1000


def test_a_pacer_says_when_even_if_it_began_at_time_zero() -> None:
    pacer = Pacer(0)
    pacer.set_rate(None, congestion_window=800, smoothed_rtt=SECOND)
    assert pacer.allowance(packet_size=1000, wanted=1000, now=0) == 0
    assert pacer.next_time(packet_size=1000, wanted=1000, now=500) == SECOND


# RFC 9002 §7.8


def recovery() -> Recovery:
    return Recovery(
        NewReno(SIZE),
        initial_window=10 * SIZE,
        rng=Random(1),
        on_acked=lambda newly: None,
        on_lost=lambda record, mask: None,
    )


def test_acknowledgements_that_come_together_all_let_the_window_grow() -> None:
    """The sender gets no turn in between to say again that it is waiting for the window."""
    manager = recovery()
    manager.on_sent(burst(0, 10, 0))
    manager.window_used = True
    manager.on_ack(Ack(((0, 2),), 0), now=100 * MILLISECOND)
    manager.on_ack(Ack(((0, 4),), 0), now=100 * MILLISECOND)
    assert manager.congestion.congestion_window == 14 * SIZE


def test_a_sender_without_a_sample_still_has_a_pace() -> None:
    """At no rate at all, the time to go on would be now, for ever."""
    manager = recovery()
    manager.pacer.on_sent(100 * SIZE)
    assert manager.pacer.next_time(packet_size=SIZE, wanted=SIZE, now=5) > 5


def test_probes_and_control_frames_take_from_the_pacer_and_acknowledgements_do_not() -> None:
    """SPEC 8-3."""

    def tokens(manager: Recovery) -> int:
        return manager.pacer.allowance(packet_size=1, wanted=1, now=0)

    manager = recovery()
    before = tokens(manager)
    manager.on_sent(SentBurst(0, 1, 0, size=SIZE, last_size=SIZE))
    manager.probes_due = 1
    manager.on_sent(SentBurst(1, 1, 0, size=SIZE, last_size=SIZE))
    assert tokens(manager) == before - 2 * SIZE
    manager.on_sent(SentBurst(2, 1, 0, size=40, last_size=40, eliciting=False))
    assert tokens(manager) == before - 2 * SIZE


# SPEC 5-6


def test_a_wish_for_fewer_acknowledgements_is_followed_within_what_was_promised() -> None:
    acks = Acknowledgements(max_ack_delay=25, at_once=False)
    acks.set_frequency(0, packets=4, delay=10)
    acks.on_received(0, 3, 3, now=100)
    assert acks.deadline == 110
    acks.on_received(3, 4, 1, now=101)
    assert acks.deadline == 101
    acks.frame(now=101)
    acks.set_frequency(1, packets=4, delay=1000)
    acks.on_received(4, 5, 1, now=200)
    assert acks.deadline == 225  # the shorter delay rules


def test_a_late_older_wish_is_ignored_and_so_is_any_in_stop_and_wait() -> None:
    acks = Acknowledgements(max_ack_delay=25, at_once=False)
    acks.set_frequency(5, packets=3, delay=10)
    acks.set_frequency(4, packets=100, delay=10)
    acks.on_received(0, 3, 3, now=0)
    assert acks.deadline == 0
    acks = Acknowledgements(max_ack_delay=25, at_once=True)
    acks.set_frequency(0, packets=100, delay=10)
    acks.on_received(0, 1, 1, now=0)
    assert acks.deadline == 0


def test_a_gap_is_reported_at_once_whatever_the_wish() -> None:
    acks = Acknowledgements(max_ack_delay=25, at_once=False)
    acks.set_frequency(0, packets=100, delay=10)
    acks.on_received(1, 2, 1, now=7)
    assert acks.deadline == 7


def test_a_sender_asks_for_four_acknowledgements_a_window() -> None:
    def wish(
        window: int, announced: AckFrequency | None = None, *, smoothed: Duration = 40 * MILLISECOND
    ) -> AckFrequency | None:
        return wanted_frequency(
            congestion_window=window, packet_size=1000, smoothed_rtt=smoothed, min_rtt=40 * MILLISECOND,
            announced=announced,
        )  # fmt: skip

    assert wish(11_000) is None  # the default is near enough
    assert wish(12_000) == AckFrequency(0, 3, 10_000)
    assert wish(80_000) == AckFrequency(0, 20, 10_000)
    assert wish(1 << 40) == AckFrequency(0, 256, 10_000)
    assert wish(116_000, AckFrequency(0, 20, 10_000)) is None  # not half as many more
    assert wish(120_000, AckFrequency(0, 20, 10_000)) == AckFrequency(1, 30, 10_000)
    assert wish(56_000, AckFrequency(0, 20, 10_000)) is None
    assert wish(52_000, AckFrequency(0, 20, 10_000)) == AckFrequency(1, 13, 10_000)
    assert wish(10_000, AckFrequency(3, 100, 10_000)) == AckFrequency(4, 2, 10_000)
    # A queue, and be it one of acknowledgements: fewer of them, but two in a window at least.
    assert wish(80_000, smoothed=60 * MILLISECOND) == AckFrequency(0, 30, 15_000)
    assert wish(80_000, smoothed=200 * MILLISECOND) == AckFrequency(0, 40, 50_000)
