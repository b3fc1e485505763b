"""Receivers that lie in their acknowledgements, or flood with them: SPEC 4-5, 5-2."""

from __future__ import annotations

import pytest

from node.protocol.configuration import Configuration
from node.protocol.errors import ErrorCode
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.frames import Ack
from tests.attacks.caps import calls_of
from tests.support.forge import Forger
from tests.support.pair import Pair

#: Functions called for an acknowledgement, the forger's own work included: some for each of its ranges, none
#: for each packet.
MAX_CALLS_EACH = 200


def sending(seed: int = 1) -> tuple[Pair, Forger]:
    """A right end that sends without end to a forger which acknowledges for the left end."""
    configuration = Configuration(connection_window=1 << 30, stream_window=1 << 30)
    pair = Pair(left=configuration, right=configuration, seed=seed)
    pair.established()
    pair.run_for(SECOND)
    assert pair.accepted is not None
    pair.to_left = pair.to_right = lambda datagram, rng: []
    forger = Forger(pair)
    pair.accepted.write(pair.accepted.open_stream(), bytes(50_000_000))
    pair.drain()
    return pair, forger


def test_a_receiver_that_acknowledges_what_it_did_not_get_is_found_out() -> None:
    """It acknowledges all that was sent, a round trip early: at the latest the first skipped number tells."""
    pair, forger = sending()
    assert pair.accepted is not None
    for _ in range(100):
        if pair.closed(right=True) is not None:
            break
        pair.now += MILLISECOND
        forger.send(Ack(((0, pair.accepted.recovery.next_packet_number),), 0))
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.PROTOCOL_VIOLATION
    assert pair.accepted.statistics().packets_sent < 3000


def test_an_honest_receiver_never_acknowledges_a_skipped_number() -> None:
    pair = Pair(coalesce=True)
    pair.established()
    stream = pair.connection.open_stream()
    pair.connection.write(stream, bytes(4_000_000), end=True)
    pair.drain()
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == 4_000_000)
    sent = pair.connection.statistics().packets_sent
    assert pair.connection.recovery.next_packet_number > sent > 2000  # some were skipped
    assert pair.closed(right=False) is None


@pytest.mark.parametrize("beyond", [0, 1, 1 << 40])
def test_an_acknowledgement_of_what_was_never_sent_ends_the_connection(beyond: int) -> None:
    pair, forger = sending()
    assert pair.accepted is not None
    following = pair.accepted.recovery.next_packet_number
    forger.send(Ack(((following + beyond, following + beyond + 1),), 0))
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.PROTOCOL_VIOLATION


def test_a_huge_range_costs_no_more_than_a_small_one() -> None:
    pair, forger = sending()
    assert calls_of(lambda: forger.send(Ack(((0, 1 << 61),), 0))) < MAX_CALLS_EACH
    assert pair.closed(right=True) is not None


def test_a_flood_of_acknowledgements_costs_little() -> None:
    """Forty frames of 60 ranges in each packet, no two alike, over and over."""
    pair, forger = sending()
    assert pair.accepted is not None
    numbers = pair.accepted.recovery.next_packet_number

    def flood() -> None:
        for shift in range(100):
            first = numbers - 1 - shift % 2
            ack = Ack(tuple((number, number + 1) for number in range(first, 0, -2))[:60], 0)
            forger.send(*[ack] * 40)

    assert calls_of(flood) < 4000 * MAX_CALLS_EACH
    assert pair.closed(right=True) is None
