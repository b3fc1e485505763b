"""Skipped packet numbers (SPEC 4-5)."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from node.protocol.recovery.skipping import FIRST_DISTANCE, LAST_DISTANCE, MAX_REMEMBERED, SkippedNumbers


def skipped(seed: int, end: int) -> list[int]:
    """The numbers below ``end`` that a sender skips, who asks only where it must."""
    numbers, found = SkippedNumbers(Random(seed)), []
    while (number := numbers.next) < end:
        assert numbers.after(number) == number + 1
        found.append(number)
    return found


def test_a_sender_that_asks_for_each_packet_skips_the_same_and_no_other() -> None:
    numbers, following, sent = SkippedNumbers(Random(1)), 0, []
    while following < 20_000:
        sent.append(following)
        following = numbers.after(following + 1)
    assert sorted({*range(following)} - {*sent}) == skipped(1, following)


def test_the_first_windows_hold_a_skipped_number_and_later_ones_are_rarer() -> None:
    for seed in range(20):
        found = skipped(seed, 100_000)
        assert 1 <= found[0] <= 2 * FIRST_DISTANCE
        gaps = [after - before for before, after in pairwise(found)]
        assert max(gaps) <= 2 * LAST_DISTANCE + 2
        assert 10 <= len(found) <= 60


def test_chance_decides_which_numbers_are_skipped() -> None:
    assert skipped(1, 5000) == skipped(1, 5000)
    assert len({tuple(skipped(seed, 5000)) for seed in range(20)}) == 20


def test_a_skipped_number_is_recognised_in_any_range_and_its_neighbours_are_not() -> None:
    numbers = SkippedNumbers(Random(1))
    number = skipped(1, 1000)[0]
    following = 0
    while following <= number:
        following = numbers.after(following + 1)
    assert numbers.any_in(number, number + 1)
    assert numbers.any_in(0, 1 << 62)
    assert not numbers.any_in(0, number)
    assert not numbers.any_in(number + 1, 1 << 62)


def test_only_the_newest_are_remembered() -> None:
    numbers, found = SkippedNumbers(Random(1)), skipped(1, 2_000_000)
    assert len(found) > MAX_REMEMBERED
    for number in found:
        numbers.after(number)
    assert not numbers.any_in(0, found[-MAX_REMEMBERED])
    assert all(numbers.any_in(number, number + 1) for number in found[-MAX_REMEMBERED:])
