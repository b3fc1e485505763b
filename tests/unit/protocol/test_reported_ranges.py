"""Which ranges of received packets an acknowledgement reports (SPEC 5-3)."""

from __future__ import annotations

import pytest

from node.protocol.recovery.acknowledgements import REPORTS_OF_A_RANGE, Acknowledgements
from node.protocol.wire.frames import MAX_ACK_RANGES


def received(*ranges: tuple[int, int]) -> Acknowledgements:
    acks = Acknowledgements(max_ack_delay=0, at_once=False)
    for start, end in ranges:
        acks.on_received(start, end, end - start, now=0)
    return acks


def reported(acks: Acknowledgements) -> tuple[tuple[int, int], ...]:
    frame = acks.frame(now=0)
    assert frame is not None
    return frame.ranges


def test_all_ranges_are_reported_at_first_the_newest_first() -> None:
    assert reported(received((0, 3), (5, 6), (8, 10))) == ((8, 10), (5, 6), (0, 3))


@pytest.mark.parametrize(("later", "there"), [(REPORTS_OF_A_RANGE - 1, True), (REPORTS_OF_A_RANGE, False)])
def test_a_range_without_news_is_reported_eight_times(later: int, there: bool) -> None:
    acks = received((0, 3))
    last = reported(acks)
    for index in range(later):
        start = 10 * (index + 1)
        acks.on_received(start, start + 1, 1, now=0)
        last = reported(acks)
        assert last[0] == (start, start + 1)
    assert ((0, 3) in last) is there


def test_a_late_packet_brings_its_range_back() -> None:
    acks = received((0, 3))
    last = reported(acks)
    for index in range(40):
        acks.on_received(10 * (index + 1), 10 * (index + 1) + 1, 1, now=0)
        last = reported(acks)
    assert (0, 3) not in last
    acks.on_received(4, 5, 1, now=0)
    assert (4, 5) in reported(acks)


def test_an_acknowledgement_without_news_repeats_what_was_reported() -> None:
    acks = received((0, 3), (5, 6))
    for _ in range(3 * REPORTS_OF_A_RANGE):
        assert reported(acks) == ((5, 6), (0, 3))


def test_no_more_than_the_limit_is_reported() -> None:
    ranges = reported(received(*((2 * index, 2 * index + 1) for index in range(2 * MAX_ACK_RANGES))))
    assert len(ranges) == MAX_ACK_RANGES
    assert ranges[0] == (4 * MAX_ACK_RANGES - 2, 4 * MAX_ACK_RANGES - 1)
