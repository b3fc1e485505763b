"""Keep-alive: an idle connection outlasts NATs that forget (SPEC 9-4)."""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.configuration import Configuration
from node.protocol.errors import LocalProtocolError
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant
from tests.support.pair import Pair

#: After so long without a packet from inside, a NAT lets nothing in any more.
BINDING: Duration = 30 * SECOND


def behind_nat(keep_alive: Duration) -> Pair:
    """The left end behind a NAT; both ends established, and no idle time-out."""
    pair = Pair(
        left=Configuration(idle_timeout=0, keep_alive=keep_alive), right=Configuration(idle_timeout=0)
    )
    last: Instant = 0

    def outwards(datagram: bytearray, rng: Random) -> list[Duration]:
        nonlocal last
        last = pair.now
        return [5 * MILLISECOND]

    pair.to_right = outwards
    pair.to_left = lambda datagram, rng: [5 * MILLISECOND] if pair.now - last <= BINDING else []
    pair.established()
    return pair


@pytest.mark.parametrize(("keep_alive", "arrives"), [(20 * SECOND, True), (0, False)])
def test_a_nat_that_forgets_is_reminded(keep_alive: Duration, arrives: bool) -> None:
    """Fault: NAT time-out."""
    pair = behind_nat(keep_alive)
    pair.run_for(600 * SECOND)
    assert pair.accepted is not None
    stream = pair.accepted.open_stream(unidirectional=True)
    pair.accepted.write(stream, b"are you there?", end=True)
    pair.drain()
    pair.run_for(5 * SECOND)
    assert (stream in pair.left_data) is arrives


def test_an_idle_connection_costs_a_ping_and_its_acknowledgement_an_interval() -> None:
    pair = behind_nat(20 * SECOND)
    pair.run_for(SECOND)
    since = len(pair.wire)
    pair.run_for(200 * SECOND)
    assert 2 * 9 <= len(pair.wire) - since <= 2 * 10


def test_a_busy_connection_sends_none() -> None:
    pair = behind_nat(20 * SECOND)
    stream = pair.connection.open_stream()
    since = len(pair.wire)
    for _ in range(20):
        pair.connection.write(stream, b"x")
        pair.drain()
        pair.run_for(10 * SECOND)
    assert len(pair.wire) - since <= 2 * 20 + 8


def test_it_keeps_the_idle_timeout_away_and_ends_with_the_peer() -> None:
    pair = Pair(left=Configuration(keep_alive=5 * SECOND), right=Configuration())
    pair.established()
    pair.run_for(300 * SECOND)
    assert pair.closed(right=False) is pair.closed(right=True) is None
    pair.to_right = lambda datagram, rng: []
    pair.run_for(60 * SECOND)
    assert pair.closed(right=False) is not None


def test_intervals_shorter_than_100_ms_are_refused() -> None:
    Configuration(keep_alive=100 * MILLISECOND)
    with pytest.raises(LocalProtocolError):
        Configuration(keep_alive=100 * MILLISECOND - 1)
