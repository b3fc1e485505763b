"""What BBR does on long and on lossy paths, beyond the draft."""

from __future__ import annotations

import pytest

from node.protocol.bbr.constants import MAX_JUMP_BYTES
from node.protocol.bbr.jump import Jump
from node.protocol.bbr.min_rtt import MinRtt
from node.protocol.bbr.random_loss import PROOF_CYCLES, TRUSTED, RandomLoss
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant
from tests.support.samples import ack_sample

SIZE = 1200
RTT: Duration = 200 * MILLISECOND


def first_flight(
    jump: Jump, *, gap: Duration, acks: int = 5, min_rtt: Duration = RTT, count: int = 1
) -> None:
    """Acknowledge two packets at a time, ``gap`` apart, all of them sent at 0."""
    for number in range(acks):
        sample = ack_sample(2 * SIZE, sent=0, now=RTT + number * gap)
        jump.update(sample, round_count=count, min_rtt=min_rtt)


def test_the_first_flights_dispersion_sizes_the_next_flight() -> None:
    """SPEC 8.1.3-9"""
    jump = Jump()
    first_flight(jump, gap=MILLISECOND)
    assert jump.window == 2 * SIZE * RTT // MILLISECOND
    assert jump.pacing_rate(RTT) == 2 * SIZE * 1000
    assert not jump.over


def test_a_queue_after_a_jump_says_that_the_pipe_is_full() -> None:
    """SPEC 8.1.3-9"""
    jump = Jump()
    assert not any(jump.sees_queue(2 * RTT, RTT) for _ in range(10))  # there was no jump
    first_flight(jump, gap=MILLISECOND)
    seen = [jump.sees_queue(rtt, RTT) for rtt in (2 * RTT, 2 * RTT, 2 * RTT, RTT * 5 // 4, 2 * RTT)]
    seen += [jump.sees_queue(RTT * 5 // 4 + 1, RTT) for _ in range(3)]
    assert seen == [False] * 7 + [True]


def test_an_acknowledgement_that_was_held_back_is_not_of_the_train() -> None:
    jump = Jump()
    first_flight(jump, gap=MILLISECOND)
    before = jump.window
    jump.update(ack_sample(SIZE, sent=0, now=RTT + 29 * MILLISECOND), round_count=1, min_rtt=RTT)
    assert jump.window == before


@pytest.mark.parametrize(
    ("gap", "acks", "min_rtt"),
    [(MILLISECOND, 3, RTT), (0, 10, RTT), (MILLISECOND, 10, 99 * MILLISECOND)],
)
def test_no_jump_from_too_few_or_clumped_acknowledgements_or_on_a_short_path(
    gap: Duration, acks: int, min_rtt: Duration
) -> None:
    jump = Jump()
    first_flight(jump, gap=gap, acks=acks, min_rtt=min_rtt)
    assert jump.window == 0


def test_a_jump_is_bounded_and_one_after_the_first_round_trip_is_none() -> None:
    jump = Jump()
    first_flight(jump, gap=1)
    assert jump.window == MAX_JUMP_BYTES
    late = Jump()
    first_flight(late, gap=MILLISECOND, count=2)
    assert late.over


def test_a_window_that_is_known_is_the_first_flights_and_grows_with_its_acknowledgements() -> None:
    """SPEC 8-7, on a short path as well."""
    jump = Jump()
    jump.resume(100 * SIZE)
    first_flight(jump, gap=MILLISECOND, min_rtt=10 * MILLISECOND)
    assert jump.window == (100 + 10) * SIZE
    jump.update(ack_sample(SIZE, sent=RTT, now=2 * RTT), round_count=2, min_rtt=10 * MILLISECOND)
    jump.update(ack_sample(SIZE, sent=RTT, now=3 * RTT), round_count=3, min_rtt=10 * MILLISECOND)
    assert jump.over
    assert jump.window == (100 + 10) * SIZE


def test_the_acknowledgements_of_the_jump_raise_it_for_one_round_trip() -> None:
    jump = Jump()
    first_flight(jump, gap=MILLISECOND)
    before = jump.window
    jump.update(ack_sample(10 * SIZE, sent=RTT, now=2 * RTT), round_count=2, min_rtt=RTT)
    assert jump.window == before + 10 * SIZE
    jump.update(ack_sample(10 * SIZE, sent=2 * RTT, now=3 * RTT), round_count=3, min_rtt=RTT)
    assert jump.window == before + 10 * SIZE
    jump.update(ack_sample(10 * SIZE, sent=3 * RTT, now=4 * RTT), round_count=4, min_rtt=RTT)
    assert jump.over


class Path(RandomLoss):
    """A path's estimate, and a clock."""

    def __init__(self) -> None:
        super().__init__(SIZE)
        self.clock: Instant = 0


def rounds(
    chance: Path, count: int, *, share: float, bandwidth: float, rtt: Duration = RTT, arrives: float = 1
) -> bool:
    """Spend round trips at a part of the bandwidth that lose ``share``; return whether that proved chance.

    Args:
        arrives: how much of what is not lost arrives within the round trip; the rest makes it longer.
    """
    found = False
    for _ in range(count):
        sent = int(100 * SIZE * bandwidth)
        lost = int(sent * share)
        chance.note_lost(lost)
        chance.take(acked=sent - lost, rtt=rtt)
        chance.clock += int(RTT / arrives)
        found |= chance.end_round(
            bandwidth=int(bandwidth * 1000), max_bandwidth=1000, min_rtt=RTT, counts=True,
            now=chance.clock,
        )  # fmt: skip
    return found


def test_loss_that_slowing_down_does_not_change_is_chance() -> None:
    """SPEC 8.1.3-10"""
    chance = Path()
    assert not rounds(chance, 3, share=0.05, bandwidth=1)
    assert not rounds(chance, 2, share=0.05, bandwidth=0.85)
    assert rounds(chance, 1, share=0.05, bandwidth=0.85)
    assert chance.ratio == pytest.approx(0.05)
    assert not rounds(chance, 3, share=0.05, bandwidth=0.85)  # nothing new


@pytest.mark.parametrize(
    ("before", "after", "bandwidth", "rtt"),
    [
        (0.17, 0.02, 0.8, RTT),  # a policer: it lets through what it lets through
        (0.05, 0.05, 0.86, RTT),  # not slow enough to tell
        (0.01, 0.01, 0.8, RTT),  # the draft's own rules live with it
        (0.2, 0.2, 0.8, RTT),  # too much to be believed
        (0.0, 0.0, 0.8, RTT),
    ],
)
def test_other_loss_is_not_chance(before: float, after: float, bandwidth: float, rtt: Duration) -> None:
    """SPEC 8.1.3-10"""
    chance = Path()
    rounds(chance, 4, share=before, bandwidth=1)
    assert not rounds(chance, 6, share=after, bandwidth=bandwidth, rtt=rtt)
    assert chance.ratio == 0


def test_loss_on_a_link_that_stays_full_is_not_chance() -> None:
    """SPEC 8.1.3-10: a seventh less is sent, and as much arrives: others, or a policer, take the rest."""
    chance = Path()
    rounds(chance, 4, share=0.05, bandwidth=1)
    assert not rounds(chance, 6, share=0.05, bandwidth=0.8, arrives=1.25)
    assert chance.ratio == 0


def test_loss_while_a_queue_shows_is_not_chance() -> None:
    """SPEC 8.1.3-10: the queue of a loss-based flow is full when it overflows."""
    chance = Path()
    rounds(chance, 4, share=0.0, bandwidth=1)
    rounds(chance, 4, share=0.05, bandwidth=1, rtt=2 * RTT)
    assert not rounds(chance, 6, share=0.05, bandwidth=0.8, rtt=2 * RTT)
    assert chance.ratio == 0


def proved(share: float) -> Path:
    """Return a path whose loss by chance has been proved."""
    chance = Path()
    rounds(chance, 3, share=share, bandwidth=1)
    assert rounds(chance, 3, share=share, bandwidth=0.8)
    return chance


def test_a_proof_of_a_quarter_more_is_news_and_one_of_as_much_is_not() -> None:
    """SPEC 8.1.3-10: what was answered as congestion since then may have been none."""
    for later, news in ((0.04, False), (0.08, True)):
        chance = proved(0.04)
        for _ in range(40):
            rounds(chance, 1, share=later, bandwidth=1)
        chance.ratio = 0.04
        assert rounds(chance, 3, share=later, bandwidth=0.8) is news


def test_the_share_is_followed_round_trip_by_round_trip() -> None:
    """SPEC 8.1.3-10"""
    chance = proved(0.04)
    rounds(chance, 20, share=0.05, bandwidth=1)
    assert 0.045 < chance.ratio < 0.05


def test_a_proof_holds_for_sixteen_cycles() -> None:
    """SPEC 8.1.3-10"""
    chance = proved(0.06)
    for _ in range(PROOF_CYCLES - 1):
        chance.end_cycle(RTT)
    assert chance.ratio == pytest.approx(0.06)
    chance.end_cycle(RTT)
    assert chance.ratio == 0


@pytest.mark.parametrize(("later", "trusted"), [(0.02, 0.02), (0.07, 0.07), (0.5, TRUSTED * 0.06)])
def test_what_is_lost_later_is_followed_but_not_trusted_without_end(later: float, trusted: float) -> None:
    """SPEC 8.1.3-10"""
    chance = proved(0.06)
    for _ in range(12):  # until what was before is forgotten
        rounds(chance, 5, share=later, bandwidth=1)
        chance.end_cycle(RTT)
    assert chance.ratio == pytest.approx(trusted, rel=0.05)


def test_a_share_shown_by_few_losses_is_trusted_up_to_two_deviations() -> None:
    """SPEC 8.1.3-10: of 340 packets ten are lost, which may be of a path that loses five in a hundred."""
    chance = Path()
    rounds(chance, 1, share=0.03, bandwidth=1)
    assert rounds(chance, 3, share=0.03, bandwidth=0.8)
    shown = chance.ratio
    rounds(chance, 60, share=0.09, bandwidth=1)
    lost = 3 + 3 * 80 * 0.03
    assert chance.ratio == pytest.approx(shown * (1 + 2 / lost**0.5), rel=0.01)
    assert chance.ratio > 1.05 * TRUSTED * shown


def test_what_was_lost_at_first_counts_less_a_deviation_where_slowing_down_lost_less() -> None:
    """SPEC 8.1.3-10: of a hundred packets nine are lost where five are to be expected, and then four."""
    chance = Path()
    rounds(chance, 1, share=0.09, bandwidth=1)
    assert rounds(chance, 3, share=0.04, bandwidth=0.8)


def test_arrivals_whose_losses_were_answered_do_not_make_the_share_smaller() -> None:
    """SPEC 8.1.3-10"""
    chance = proved(0.05)
    for _ in range(10):
        chance.take(acked=100 * SIZE, rtt=RTT, answered=True)
        rounds(chance, 1, share=0.05, bandwidth=1)
    assert chance.ratio == pytest.approx(0.05)


def test_chance_may_lose_its_mean_and_three_deviations() -> None:
    chance = Path()
    assert chance.allowance(1000 * SIZE) == 0
    rounds(chance, 3, share=0.04, bandwidth=1)
    rounds(chance, 3, share=0.04, bandwidth=0.8)
    assert chance.allowance(100 * SIZE) == pytest.approx((4 + 3 * 2) * SIZE, rel=0.01)
    assert chance.allowance(10_000 * SIZE) == pytest.approx((400 + 3 * 20) * SIZE, rel=0.01)


def test_a_sample_near_min_rtt_renews_it_and_does_not_raise_it() -> None:
    """SPEC 8.1.3-8"""
    min_rtt = MinRtt()
    min_rtt.update(100, 0)
    min_rtt.update(105, 5 * SECOND)
    min_rtt.update(106, 6 * SECOND)
    assert min_rtt.value == 100
    assert not min_rtt.is_expired(15 * SECOND)
    assert min_rtt.is_expired(15 * SECOND + 1)
