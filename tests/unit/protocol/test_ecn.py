"""Explicit congestion notification: validation (RFC 9000 §13.4.2), and what the ends make of it."""

from __future__ import annotations

import pytest

from node.protocol.configuration import Configuration
from node.protocol.ecn import CE, ECT0, ECT1, NOT_ECT, TESTING_PACKETS, EcnState, EcnValidator
from node.protocol.recovery.acknowledgements import Acknowledgements
from node.protocol.time import MILLISECOND
from node.protocol.wire.frames import Ack
from tests.support.forge import Forger
from tests.support.pair import Pair


def marking(marked: int = TESTING_PACKETS) -> EcnValidator:
    """A validator that has marked so many packets and heard nothing yet."""
    validator = EcnValidator(enabled=True)
    validator.on_sent(marked)
    return validator


def test_ten_packets_are_marked_and_then_none_until_the_answer() -> None:
    """SPEC 8.2-2."""
    validator = marking(TESTING_PACKETS - 1)
    assert (validator.state, validator.codepoint) == (EcnState.TESTING, ECT0)
    validator.on_sent(1)
    assert (validator.state, validator.codepoint) == (EcnState.UNKNOWN, NOT_ECT)
    assert validator.on_ack((10, 0, 0), newly_marked=10, advances=True) == 0
    assert (validator.state, validator.codepoint) == (EcnState.CAPABLE, ECT0)


def test_marked_packets_may_come_back_as_congestion_experienced() -> None:
    validator = marking()
    assert validator.on_ack((4, 0, 1), newly_marked=5, advances=True) == 1
    assert validator.on_ack((4, 0, 6), newly_marked=5, advances=True) == 5
    assert validator.state is EcnState.CAPABLE


@pytest.mark.parametrize(
    ("counts", "newly_marked"),
    [
        (None, 1),  # acknowledged without counts: the peer, or its system, reports none
        ((0, 0, 0), 1),
        ((4, 0, 0), 5),  # bleached on the way
        ((5, 1, 0), 5),  # ECT(1) was never sent
        ((11, 0, 0), 5),  # more than were marked
        ((5, 0, 6), 5),
    ],
)
def test_counts_that_cannot_be_end_the_use_of_marks(
    counts: tuple[int, int, int] | None, newly_marked: int
) -> None:
    """SPEC 8.2-3."""
    validator = marking()
    assert validator.on_ack(counts, newly_marked=newly_marked, advances=True) == 0
    assert (validator.state, validator.codepoint) == (EcnState.FAILED, NOT_ECT)
    assert validator.on_ack((10, 0, 10), newly_marked=0, advances=True) == 0
    assert validator.state is EcnState.FAILED


def test_a_count_that_went_down_ends_it() -> None:
    validator = marking()
    validator.on_ack((5, 0, 0), newly_marked=5, advances=True)
    validator.on_ack((4, 0, 1), newly_marked=0, advances=True)
    assert validator.state is EcnState.FAILED


def test_an_acknowledgement_out_of_order_proves_nothing() -> None:
    """RFC 9000 §13.4.2.1: it MUST NOT fail validation."""
    validator = marking()
    assert validator.on_ack(None, newly_marked=5, advances=False) == 0
    assert validator.on_ack((1, 0, 9), newly_marked=5, advances=False) == 0
    assert validator.state is EcnState.UNKNOWN


def test_all_marked_packets_of_the_test_lost_is_a_path_that_drops_them() -> None:
    nearly, fully = marking(), marking()
    nearly.on_lost(TESTING_PACKETS - 1)
    fully.on_lost(TESTING_PACKETS)
    assert nearly.state is EcnState.UNKNOWN
    assert fully.state is EcnState.FAILED


def test_losses_on_a_capable_path_say_nothing_of_marks() -> None:
    validator = marking()
    validator.on_ack((1, 0, 0), newly_marked=1, advances=True)
    validator.on_lost(50)
    assert validator.state is EcnState.CAPABLE


def test_a_packet_with_ce_is_acknowledged_at_once_and_others_as_ever() -> None:
    """SPEC 8.2-1."""
    acks = Acknowledgements(max_ack_delay=25 * MILLISECOND, at_once=False)
    acks.on_received(0, 1, 1, now=0, ecn=ECT0)
    assert acks.deadline == 25 * MILLISECOND
    acks.frame(now=1)
    acks.on_received(1, 2, 1, now=5, ecn=CE)
    assert acks.deadline == 5
    frame = acks.frame(now=5)
    assert frame == Ack(((0, 2),), 0, (1, 0, 1))


def test_without_marks_there_are_no_counts() -> None:
    acks = Acknowledgements(max_ack_delay=0, at_once=False)
    acks.on_received(0, 3, 3, now=0)
    assert acks.frame(now=0) == Ack(((0, 3),), 0)


# Two whole ends


def transfer(pair: Pair, size: int = 400_000) -> None:
    """Send so many bytes from left to right, all of which arrive."""
    pair.established()
    stream = pair.connection.open_stream()
    pair.connection.write(stream, bytes(size), end=True)
    pair.drain()
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == size)
    pair.run_for(200 * MILLISECOND)


@pytest.mark.parametrize("coalesce", [False, True])
def test_a_clean_path_carries_marks_both_ways(coalesce: bool) -> None:
    pair = Pair(coalesce=coalesce)
    transfer(pair)
    assert pair.accepted is not None
    for connection in (pair.connection, pair.accepted):
        assert connection.statistics().ecn_state == "capable"
        assert connection.statistics().ecn_ce == 0


def test_marked_congestion_slows_the_sender_and_loses_nothing() -> None:
    """SPEC 8.2-4."""
    marked, free = Pair(), Pair()
    seen = 0

    def mark(codepoint: int) -> int:
        nonlocal seen
        seen += codepoint == ECT0
        return CE if codepoint == ECT0 and seen % 100 == 0 else codepoint

    marked.mark_to_right = mark
    transfer(marked)
    transfer(free)
    statistics = marked.connection.statistics()
    assert statistics.ecn_ce == seen // 100 >= 2
    assert (statistics.packets_lost, statistics.retransmitted_packets) == (0, 0)
    assert statistics.ssthresh is not None
    assert statistics.congestion_window < free.connection.statistics().congestion_window


def test_marks_of_one_round_trip_are_one_reaction() -> None:
    pair = Pair()
    pair.established()
    pair.run_for(100 * MILLISECOND)
    before = pair.connection.statistics().congestion_window
    pair.mark_to_right = lambda codepoint: CE if codepoint else 0
    stream = pair.connection.open_stream()
    pair.connection.write(stream, bytes(before - 1000), end=True)
    pair.drain()
    pair.run_for(100 * MILLISECOND)
    statistics = pair.connection.statistics()
    assert statistics.ecn_ce >= 5
    assert statistics.congestion_window >= before // 2


@pytest.mark.parametrize("bleached", [NOT_ECT, ECT1])
def test_a_path_that_changes_marks_is_used_without(bleached: int) -> None:
    pair = Pair()
    pair.mark_to_right = lambda codepoint: bleached if codepoint == ECT0 else codepoint
    transfer(pair)
    statistics = pair.connection.statistics()
    assert statistics.ecn_state == "failed"
    assert statistics.packets_lost == 0


def test_a_path_that_drops_marked_packets_works_after_the_test() -> None:
    pair, dropped = Pair(), 0

    def mark(codepoint: int) -> int | None:
        nonlocal dropped
        dropped += codepoint == ECT0
        return None if codepoint == ECT0 else codepoint

    pair.mark_to_right = mark
    transfer(pair)
    assert pair.connection.statistics().ecn_state == "failed"
    assert TESTING_PACKETS <= dropped < 2 * TESTING_PACKETS  # what went out in a burst with the tenth, too


def test_switched_off_nothing_is_marked_and_marks_of_the_peer_are_reported_all_the_same() -> None:
    pair, seen = Pair(left=Configuration(ecn=False)), set[int]()

    def mark(codepoint: int) -> int:
        seen.add(codepoint)
        return codepoint

    pair.mark_to_right = mark
    transfer(pair)
    assert pair.accepted is not None
    pair.accepted.write(pair.accepted.open_stream(), bytes(50_000))
    pair.drain()
    pair.run_for(200 * MILLISECOND)
    assert seen == {NOT_ECT}
    assert pair.connection.statistics().ecn_state == "failed"
    assert pair.accepted.statistics().ecn_state == "capable"


def test_a_peer_that_reports_congestion_that_cannot_be_is_not_believed() -> None:
    """SPEC 8.2-3: a forged count must not slow us more than one reaction does."""
    pair = Pair()
    pair.established()
    assert pair.accepted is not None
    pair.accepted.write(pair.accepted.open_stream(), bytes(20_000))
    pair.drain()
    before = pair.accepted.statistics().congestion_window
    sent = pair.accepted.statistics().packets_sent
    Forger(pair).send(Ack(((0, sent),), 0, (sent, 0, 1 << 60)))
    assert pair.accepted.statistics().ecn_state == "failed"
    assert pair.accepted.statistics().congestion_window >= before
