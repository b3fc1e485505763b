"""Figures of streams, frames of probes, and what is told from them."""

from __future__ import annotations

import pytest

from node.measuring.frames import frame_number, is_probe, probe_frame
from node.measuring.streams import Arrival, Burst, Observed, Stream
from orchestrator.measure.asked import Asked
from orchestrator.measure.figures import path_figures, rate_figures
from orchestrator.measure.judging import OK, OUTSIDE, UNJUDGED, judge_burst, judge_path, judge_rate
from orchestrator.measure.links import (
    FRAMES_A_SECOND,
    LONG,
    SHORT,
    path_stream,
    shared,
    train_batches,
    train_stream,
)

MS = 1_000_000
MAC = bytes(6)


def observed(*arrivals: tuple[int, int], count: int = 10, interval: int = MS) -> Observed:
    """Return a stream of which (number, ns after its departure) came, in this order."""
    departures = [number * interval for number in range(count)]
    came = [Arrival(number, departures[number] + delay) for number, delay in arrivals]
    return Observed(Stream(count, 100, interval), departures, came)


def test_frame_says_its_number_whatever_bit_is_flipped() -> None:
    frame = probe_frame(70_000, 100, source=MAC, destination=MAC, stream=3)
    assert len(frame) == 100
    assert is_probe(frame)
    for bit in range(8 * 20, 8 * 100):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        assert frame_number(bytes(damaged), stream=3) == 70_000
        assert bytes(damaged) != frame
    assert frame_number(frame, stream=4) is None
    assert frame_number(frame[:40], stream=3) is None


def test_frames_and_ip_packets_of_probes_are_known_and_no_others() -> None:
    header = bytes(12) + b"\x08\x00" + bytes([0x45]) + bytes(8)
    assert is_probe(header + bytes([253]) + bytes(60))
    assert not is_probe(header + bytes([17]) + bytes(60))
    assert not is_probe(header)
    assert not is_probe(b"")


def test_copies_gaps_and_order_are_counted() -> None:
    figures = path_figures(observed((0, 5), (1, 5), (3, 5), (2, 7), (2, 9), (5, 5)))
    assert (figures.sent, figures.came, figures.lost) == (10, 5, 5)
    assert (figures.duplicates, figures.late) == (1, 1)
    assert figures.delays == (5, 5, 7, 5, 5)


def test_duplicate_that_comes_late_is_not_reordering() -> None:
    assert path_figures(observed((0, 5), (1, 5), (0, 2 * MS))).late == 0


def test_rate_is_that_of_the_later_frames() -> None:
    """A bucket of tokens lets the first frames pass at once."""
    arrivals = [Arrival(number, 0 if number < 10 else number * MS) for number in range(100)]
    train = Observed(Stream(100, 1250, 0), list(range(100)), arrivals)
    assert rate_figures(train).rate_bps == pytest.approx(10e6)


def judged(asked: Asked, found: Observed, *, exact: bool = True) -> dict[str, str]:
    rows = judge_path(asked, path_figures(found), size=100, exact=exact)
    return {row.quantity: row.verdict for row in rows}


def test_right_link_is_right() -> None:
    arrivals = [(number, 20 * MS) for number in range(100)]
    verdicts = judged(Asked(delay=20 * MS), observed(*arrivals, count=100))
    assert set(verdicts.values()) == {OK}


@pytest.mark.parametrize(
    ("asked", "quantity"),
    [
        (Asked(delay=19 * MS), "delay"),
        (Asked(delay=20 * MS, deviation=1.0 * MS), "jitter"),
        (Asked(delay=20 * MS, loss=0.2), "loss"),
        (Asked(delay=20 * MS, duplicates=0.2), "duplicates"),
        (Asked(delay=20 * MS, damaged=0.2), "damage"),
    ],
)
def test_each_quantity_is_found_alone(asked: Asked, quantity: str) -> None:
    arrivals = [(number, 20 * MS) for number in range(100)]
    verdicts = judged(asked, observed(*arrivals, count=100))
    assert [name for name, verdict in verdicts.items() if verdict == OUTSIDE] == [quantity]


def test_both_sides_of_the_target_of_delay() -> None:
    """1 % + 0.2 ms of 20 ms is 0.4 ms."""
    for delay, verdict in ((20_400_000, OK), (20_400_001, OUTSIDE), (19_600_000, OK), (19_599_999, OUTSIDE)):
        arrivals = [(number, delay) for number in range(100)]
        assert judged(Asked(delay=20 * MS), observed(*arrivals, count=100))["delay"] == verdict


def test_few_wild_values_of_a_busy_host_move_nothing() -> None:
    arrivals = [(number, 20 * MS if number % 20 else 90 * MS) for number in range(200)]
    found = observed(*arrivals, count=200, interval=100 * MS)
    assert judged(Asked(delay=20 * MS), found, exact=False) | {"delay": OK, "jitter": OK} == judged(
        Asked(delay=20 * MS), found, exact=False
    )
    assert judged(Asked(delay=20 * MS), found)["delay"] == OUTSIDE


def test_reordering_that_nobody_asked_for_is_found_by_one_frame() -> None:
    arrivals = [(number, 20 * MS) for number in range(100) if number != 50]
    arrivals.insert(51, (50, 22 * MS))
    assert judged(Asked(delay=20 * MS), observed(*arrivals, count=100))["reordering"] == OUTSIDE
    assert (
        judged(Asked(delay=20 * MS, reorders=True), observed(*arrivals, count=100))["reordering"] == UNJUDGED
    )


def test_burst_that_nobody_split_is_found_by_its_size() -> None:
    found = observed(*((number, MS) for number in range(20)), count=20)
    found.oversize = 1
    assert judged(Asked(delay=MS), found)["size"] == OUTSIDE


def test_burst_is_right_only_as_single_packets_at_the_sender_and_on_the_link() -> None:
    assert judge_burst(Burst(8, at_sender=8, on_link=8)).verdict == OK
    assert judge_burst(Burst(8, at_sender=8, on_link=None)).verdict == OK
    whole = judge_burst(Burst(8, at_sender=1, on_link=1))
    assert (whole.verdict, whole.measured) == (OUTSIDE, 1)
    assert "1 at the sender, 1 on the link: bursts that nobody split" in whole.detail
    assert judge_burst(Burst(8, at_sender=8, on_link=1)).verdict == OUTSIDE
    assert judge_burst(Burst(8, at_sender=8, on_link=8, oversize=1)).verdict == OUTSIDE
    assert judge_burst(Burst(8, at_sender=0, on_link=0)).verdict == UNJUDGED


def test_sender_that_is_too_slow_says_nothing_of_a_rate() -> None:
    arrivals = [Arrival(number, number * MS) for number in range(100)]
    slow = Observed(Stream(100, 1250, 0), [number * MS for number in range(100)], arrivals)
    (row,) = judge_rate(Asked(rate=20_000_000), rate_figures(slow), exact=False)
    assert row.verdict == UNJUDGED
    slower = Observed(slow.stream, [number * MS // 2 for number in range(100)], arrivals)
    (missed,) = judge_rate(Asked(rate=20_000_000), rate_figures(slower), exact=False)
    assert missed.verdict == OUTSIDE
    assert row.measured == pytest.approx(10e6)


@pytest.mark.parametrize(("gap", "verdict"), [(1.08, UNJUDGED), (1.3, OUTSIDE)])
def test_train_that_comes_unevenly_proves_no_rate(gap: float, verdict: str) -> None:
    """Parts of it come three times as fast as others, on average a little, or much, below what is asked."""
    instants = [0]
    for number in range(159):
        instants.append(instants[-1] + int((1.5 if number // 20 % 2 else 0.5) * gap * MS))
    uneven = Observed(
        Stream(160, 1250, 0),
        [number * MS // 2 for number in range(160)],
        [Arrival(number, at) for number, at in enumerate(instants)],
    )
    (row,) = judge_rate(Asked(rate=10_000_000), rate_figures(uneven), exact=False)
    assert row.verdict == verdict, row
    assert "too busy" in row.detail


def test_trains_cross_together_as_far_as_one_process_can_send() -> None:
    rates = {"a": 10, "b": 1000, "c": 100, "d": 300, "e": 200}
    trains = {
        end: train_stream(Asked(rate=rate * 1_000_000), lasting=100 * MS) for end, rate in rates.items()
    }
    bits = {end: rate * 1_000_000 for end, rate in rates.items()}
    assert train_batches(trains, bits, together=400_000_000) == [["a"], ["b"], ["c", "d"], ["e"]]
    assert train_batches({}, {}, together=400_000_000) == []


def test_sparse_frames_do_not_wait_for_each_other() -> None:
    assert path_stream(Asked(delay=80 * MS, spread=40 * MS), SHORT).interval >= 80 * MS
    assert path_stream(Asked(rate=100_000), SHORT).interval >= 16 * MS
    assert path_stream(Asked(), SHORT).count == SHORT.most


def test_sparse_streams_of_many_directions_leave_the_machine_time_to_do_what_they_measure() -> None:
    for effort in (SHORT, LONG):
        for directions in (200, 2_000):
            stream = path_stream(Asked(), shared(effort, directions))
            assert directions * 1_000 * MS / stream.interval <= FRAMES_A_SECOND
            assert stream.count == max(effort.fewest, effort.together // directions)
        assert path_stream(Asked(), shared(effort, 10)) == path_stream(Asked(), effort)
        assert path_stream(Asked(), shared(effort, 1)) == path_stream(Asked(), effort)


def test_train_keeps_a_short_queue_full_all_the_time() -> None:
    slow, fast = (train_stream(Asked(rate=rate), lasting=100 * MS) for rate in (10_000_000, 500_000_000))
    assert slow.interval == pytest.approx(1514 * 8 * 100 / 1.5, abs=1)
    assert slow.count * slow.interval == pytest.approx(100 * MS, rel=0.02)
    assert fast.interval == pytest.approx(1514 * 8 * 2 / 1.5, abs=1)
    assert (slow.together, fast.together) == (1, 7)


def test_train_lasts_long_enough_for_its_jitter() -> None:
    stream = train_stream(Asked(rate=20_000_000, spread=5 * MS), lasting=100 * MS)
    assert stream.count * 1514 * 8 >= 0.1 * 20_000_000 * 0.99


def test_train_of_a_prober_that_stamps_what_it_reads_lasts_as_long_as_it_says() -> None:
    stream = train_stream(Asked(rate=20_000_000), lasting=300 * MS)
    assert stream.count * stream.interval == pytest.approx(300 * MS, rel=0.02)


def test_shaper_that_lets_go_in_gulps_widens_the_interval_of_the_rate() -> None:
    """Frames that are due 1 ms apart come when the shaper wakes, every 7 to 13 ms: their rate is the same."""
    wakes = [0, 9, 18, 31, 38, 50, 58, 71, 80, 88, 101]
    late = [Arrival(number, min(at for at in wakes if at >= number) * MS) for number in range(100)]
    steady = [Arrival(number, number * MS) for number in range(100)]
    departures = list(range(100))
    gulping = rate_figures(Observed(Stream(100, 1250, 0), departures, late))
    smooth = rate_figures(Observed(Stream(100, 1250, 0), departures, steady))
    assert smooth.rate_bps == pytest.approx(10e6)
    assert smooth.high_bps - smooth.low_bps < 1
    assert gulping.low_bps < 10e6 < gulping.high_bps
    (row,) = judge_rate(Asked(rate=10_000_000), gulping, exact=False)
    assert row.verdict == OK
    (row,) = judge_rate(Asked(rate=10_200_000), smooth, exact=False)
    assert row.verdict == OUTSIDE
