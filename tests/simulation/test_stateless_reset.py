"""A peer that has lost the connection says so, and is believed at once (SPEC 4.3)."""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.configuration import Configuration
from node.protocol.endpoint import Endpoint
from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.events import ConnectionEstablished
from node.protocol.stateless_reset import MAX_ALIKE, MAX_RESETS_A_SECOND, StatelessResets
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.parameters import TransportParameters, parse_parameters
from tests.support.pair import Pair, hostile


def restart(pair: Pair, *, right: bool = True) -> None:
    """Put a new process of the same node in the place of one end."""
    before = pair.right if right else pair.left
    after = Endpoint(before.identity, Configuration(), rng=Random("a new life"))
    if right:
        pair.right = after
    else:
        pair.left = after


def resets(pair: Pair) -> list[bytes]:
    return [datagram for _, _, datagram in pair.wire if datagram[0] == 0x42]


@pytest.mark.parametrize("profile", ["aead", "crc32c"])
def test_a_restarted_peer_ends_the_connection_at_the_other_end_at_once(profile: str) -> None:
    """SPEC 4.3-2, 4.3-3, 4.3-5: within a round trip, not after the idle time-out."""
    pair = Pair(left=Configuration(integrity=profile))
    connection = pair.established()
    pair.run_for(SECOND)
    restart(pair)
    before = pair.now
    connection.write(connection.open_stream(), b"are you there?" * 3)
    pair.drain()
    pair.run_until(lambda: pair.closed(right=False) is not None)
    closed = pair.closed(right=False)
    assert closed is not None
    assert (closed.code, closed.remote) == (ErrorCode.STATELESS_RESET, True)
    assert pair.now - before <= 11 * MILLISECOND
    pair.run_for(60 * SECOND)
    assert pair.left.connections == ()
    # SPEC 4.3-5: nothing more is said.
    assert [datagram[0] for _, from_left, datagram in pair.wire if from_left][-1] in (0x41, 0x45)
    assert len(resets(pair)) == 1


def test_the_initiator_may_be_the_one_that_restarted() -> None:
    pair = Pair()
    pair.established()
    pair.run_for(SECOND)
    restart(pair, right=False)
    assert pair.accepted is not None
    pair.accepted.write(pair.accepted.open_stream(), b"are you there?")
    pair.drain()
    pair.run_for(SECOND)
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.STATELESS_RESET


def test_an_initiator_of_xx_does_not_tell_its_token_in_clear() -> None:
    """SPEC 4.3-2: the responder has none then, and waits; the initiator has the responder's."""
    pair = Pair(left=Configuration(handshake="xx"))
    connection = pair.established()
    pair.run_for(SECOND)
    token = pair.left.identity.reset_token(connection.connection_id)
    assert not any(token in datagram for _, _, datagram in pair.wire)
    assert pair.accepted is not None
    pair.inject(b"\x42" + connection.connection_id + token, to_right=True)
    assert pair.closed(right=True) is None
    peer_id = pair.accepted.connection_id
    pair.inject(b"\x42" + peer_id + pair.right.identity.reset_token(peer_id), to_right=False)
    assert pair.closed(right=False) is not None


def test_a_new_connection_can_be_made_after_it() -> None:
    pair = Pair()
    connection = pair.established()
    pair.run_for(SECOND)
    restart(pair)
    connection.write(connection.open_stream(), b"old")
    pair.drain()
    pair.run_for(SECOND)
    pair.right_events.clear()
    again = pair.established()
    again.write(again.open_stream(), b"new")
    pair.drain()
    pair.run_for(SECOND)
    assert any(isinstance(event, ConnectionEstablished) for event in pair.right_events)
    assert pair.right_data[0] == b"new"


def test_every_forged_reset_is_dropped() -> None:
    """SPEC 4.3-5: each bit of a true one counts, and so does its length."""
    pair = Pair()
    connection = pair.established()
    pair.run_for(SECOND)
    assert pair.accepted is not None
    peer_id = pair.accepted.connection_id
    true = b"\x42" + peer_id + pair.right.identity.reset_token(peer_id)
    for bit in range(8, len(true) * 8):
        forged = bytearray(true)
        forged[bit >> 3] ^= 1 << (bit & 7)
        pair.inject(bytes(forged), to_right=False)
    for length in [*range(1, 25), 26, 1000]:
        pair.inject(true.ljust(length, b"\x00")[:length], to_right=False)
    assert pair.closed(right=False) is None
    assert pair.left.drops.counts["STATELESS_RESET of no connection"] == 24 * 8 + 26
    connection.write(connection.open_stream(), b"still there")
    pair.drain()
    pair.run_for(SECOND)
    assert pair.right_data[0] == b"still there"
    pair.inject(true, to_right=False)
    assert pair.closed(right=False) is not None


def test_a_reset_is_never_answered_and_never_larger_than_what_it_answers() -> None:
    """SPEC 4.3-3: no loop, no amplification."""
    pair = Pair()
    pair.inject(b"\x42" + bytes(24), to_right=True)
    pair.inject(b"\x41" + bytes(24), to_right=True)
    pair.inject(b"\x51" + bytes(99), to_right=True)
    assert pair.wire == []
    pair.inject(b"\x45" + bytes(25), to_right=True)
    assert [len(datagram) for _, _, datagram in pair.wire] == [25]


def test_resets_are_few_however_many_packets_ask_for_one() -> None:
    """SPEC 4.3-4: the last that goes, the first that does not, and the next second."""
    pair = Pair()
    for number in range(1000):
        pair.inject(b"\x41" + number.to_bytes(8, "big") + bytes(50), to_right=True)
    assert len(pair.wire) == MAX_RESETS_A_SECOND
    pair.now += SECOND
    pair.inject(b"\x41" + bytes(50), to_right=True)
    assert len(pair.wire) == MAX_RESETS_A_SECOND + 1


def test_no_second_holds_more_resets_than_there_may_be_wherever_it_begins() -> None:
    """SPEC 4.3-4: those late in one second and those early in the next are in one second as well."""
    pair = Pair()
    for number in range(300):
        pair.inject(b"\x41" + number.to_bytes(8, "big") + bytes(50), to_right=True)
        pair.now += 10 * MILLISECOND if number < 100 else MILLISECOND
    times = [time for time, _, _ in pair.wire]
    assert len(times) > MAX_RESETS_A_SECOND
    for first in times:
        assert sum(first <= time < first + SECOND for time in times) <= MAX_RESETS_A_SECOND


def test_two_nodes_that_know_nothing_of_each_other_fall_silent() -> None:
    """SPEC 4.3-3: both restarted with packets on the way."""
    pair = Pair(to_right=hostile(duplicate=0.5))
    connection = pair.established()
    connection.write(connection.open_stream(), bytes(20_000))
    pair.drain()
    restart(pair)
    restart(pair, right=False)
    pair.run_for(10 * SECOND)
    assert pair.next_time() is None


def test_a_closed_connection_that_was_forgotten_is_reset_too() -> None:
    pair = Pair(right=Configuration(idle_timeout=SECOND), left=Configuration(idle_timeout=0))
    connection = pair.established()
    pair.run_for(100 * MILLISECOND)
    pair.to_right = pair.to_left = lambda datagram, rng: []
    pair.run_for(5 * SECOND)
    assert pair.right.connections == ()
    pair.to_right = pair.to_left = lambda datagram, rng: [MILLISECOND]
    if pair.closed(right=False) is None:
        connection.write(connection.open_stream(), b"hello?")
        pair.drain()
        pair.run_for(SECOND)
    assert pair.closed(right=False) is not None


def test_parameters_carry_sixteen_bytes_of_token_or_none() -> None:
    """SPEC 4.3-2."""
    plain = TransportParameters.of(Configuration(), bytes(range(8)))
    assert parse_parameters(plain.encode()).stateless_reset_token == b""
    token = bytes(range(16))
    assert parse_parameters(plain.with_reset_token(token).encode()).stateless_reset_token == token
    for wrong in (token[:15], token + b"!"):
        with pytest.raises(RemoteProtocolError, match="stateless_reset_token"):
            parse_parameters(plain.with_reset_token(wrong).encode())
    with pytest.raises(RemoteProtocolError, match="stateless_reset_token"):
        parse_parameters(plain.encode() + b"\x0b\x00")


def test_connections_whose_peers_chose_one_id_are_told_apart_within_bounds() -> None:
    """The ID is the peer's choice: equal ones must neither hide each other nor pile up."""
    pair = Pair()
    one, two = pair.connect(), pair.connect()
    found = StatelessResets(pair.left.identity)
    peer_id = bytes(8)
    found.remember(one, peer_id, b"1" * 16)
    for _ in range(1000):
        found.remember(two, peer_id, b"2" * 16)
    packets = [memoryview(b"\x42" + peer_id + token * 16) for token in (b"1", b"2", b"3")]
    assert [found.find(packet) for packet in packets] == [one, two, None]
    found.forget(two)
    assert [found.find(packet) for packet in packets] == [one, None, None]
    for number in range(MAX_ALIKE):
        found.remember(two, peer_id, bytes([number]) * 16)
    assert found.find(memoryview(b"\x42" + peer_id + bytes([MAX_ALIKE - 2]) * 16)) is two
    assert found.find(memoryview(b"\x42" + peer_id + bytes([MAX_ALIKE - 1]) * 16)) is None
    found.forget(one)
    found.forget(two)
    found.forget(two)
    assert found.find(packets[0]) is None
