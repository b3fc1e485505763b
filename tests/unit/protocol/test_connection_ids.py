"""Connection IDs: issued, used once a path, retired, and bounded whatever the peer does (SPEC 13.1)."""

from __future__ import annotations

from itertools import count

import pytest

from node.protocol.connection_ids import MAX_RETIRING, IssuedIds, PeerIds
from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.frames import NewConnectionId, Ping, RetireConnectionId
from node.protocol.wire.parameters import CONNECTION_ID_LIMIT
from tests.support.forge import Forger
from tests.support.pair import Pair


def issued(sequence: int, retire_prior_to: int = 0, *, value: bytes = b"") -> NewConnectionId:
    """An ID of the peer's, its own for each number."""
    return NewConnectionId(
        sequence, retire_prior_to, value or sequence.to_bytes(8, "big"), bytes([sequence % 256]) * 16
    )


def ours() -> IssuedIds:
    numbers = count(1)
    return IssuedIds(b"handshak", lambda: (next(numbers).to_bytes(8, "big"), bytes(16)))


def refused(ids: PeerIds, frame: NewConnectionId) -> ErrorCode:
    with pytest.raises(RemoteProtocolError) as caught:
        ids.take(frame)
    return caught.value.code


# Ours


def test_a_peer_gets_as_many_as_it_keeps_and_never_more_than_the_limit() -> None:
    """SPEC 13.1-1."""
    assert len(ours().issue(2)) == 1
    ids = ours()
    assert [frame.sequence for frame in ids.issue(1 << 60)] == [1, 2, 3]
    assert ids.issue(1 << 60) == []
    assert len(ids.values) == CONNECTION_ID_LIMIT == 4


def test_a_retired_id_is_replaced_by_one_with_a_new_number() -> None:
    ids = ours()
    ids.issue(4)
    assert ids.retire(0) == b"handshak"
    assert not ids.is_active(0)
    assert [frame.sequence for frame in ids.issue(4)] == [4]
    assert ids.retire(0) is None  # said twice: nothing new


def test_retiring_what_was_never_issued_is_refused() -> None:
    """SPEC 13.1-4."""
    ids = ours()
    ids.issue(4)
    assert ids.retire(3) is not None
    with pytest.raises(RemoteProtocolError):
        ids.retire(4)


# The peer's


def test_each_path_takes_an_unused_id_the_oldest_first() -> None:
    ids = PeerIds(b"handshak")
    assert ids.take_unused() is None
    ids.take(issued(2))
    ids.take(issued(1))
    taken = [ids.take_unused() for _ in range(3)]
    assert [None if found is None else found.sequence for found in taken] == [1, 2, None]


def test_a_repeated_frame_changes_nothing_even_after_its_id_was_retired() -> None:
    ids = PeerIds(b"handshak")
    for _ in range(3):
        assert ids.take(issued(1)) == []
    assert ids.take_unused() is not None
    assert ids.retire(1) == RetireConnectionId(1)
    assert ids.take(issued(1)) == []
    assert ids.take_unused() is None


def test_one_more_than_the_limit_is_refused() -> None:
    """SPEC 13.1-2: the flood of IDs ends with the fifth."""
    ids = PeerIds(b"handshak")
    for sequence in range(1, CONNECTION_ID_LIMIT):
        ids.take(issued(sequence))
    assert refused(ids, issued(CONNECTION_ID_LIMIT)) is ErrorCode.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (issued(1, value=b"another!"), ErrorCode.PROTOCOL_VIOLATION),  # number 1 again, with another ID
        (issued(2, value=(1).to_bytes(8, "big")), ErrorCode.PROTOCOL_VIOLATION),  # the ID of number 1 again
        (issued(2, 3), ErrorCode.FRAME_ENCODING),  # retires itself
    ],
)
def test_contradictions_are_refused(frame: NewConnectionId, code: ErrorCode) -> None:
    """SPEC 13.1-3."""
    ids = PeerIds(b"handshak")
    ids.take(issued(1))
    assert refused(ids, frame) is code


def test_retire_prior_to_takes_the_older_ones_away_and_makes_room() -> None:
    ids = PeerIds(b"handshak")
    for sequence in (1, 2, 3):
        ids.take(issued(sequence))
    assert ids.take(issued(4, 3)) == [RetireConnectionId(0), RetireConnectionId(1), RetireConnectionId(2)]
    assert sorted(ids.active) == [3, 4]
    # One that was overtaken by the frame that retires it is given back at once.
    assert ids.take(issued(2)) == [RetireConnectionId(2)]


def test_retirements_that_are_never_acknowledged_are_bounded() -> None:
    """SPEC 13.1-5."""
    ids = PeerIds(b"handshak")
    for sequence in range(1, MAX_RETIRING + 1):
        assert len(ids.take(issued(sequence, sequence))) == 1
    assert refused(ids, issued(MAX_RETIRING + 1, MAX_RETIRING + 1)) is ErrorCode.PROTOCOL_VIOLATION


def test_retirements_that_are_acknowledged_may_go_on_for_ever() -> None:
    ids = PeerIds(b"handshak")
    for sequence in range(1, 1000):
        for frame in ids.take(issued(sequence, sequence)):
            ids.on_retire_acked(frame.sequence)
    assert len(ids.active) == 1


# Two whole ends


def test_both_ends_get_ids_with_the_handshake_and_any_of_them_finds_the_connection() -> None:
    pair = Pair()
    pair.established()
    pair.run_for(100 * MILLISECOND)
    assert pair.accepted is not None
    for near, far in ((pair.connection, pair.accepted), (pair.accepted, pair.connection)):
        known = {peer_id.value for peer_id in near.paths.peer_ids.active.values()}
        assert known == set(far.paths.issued.values)
        assert len(known) == CONNECTION_ID_LIMIT
    forger = Forger(pair)
    for value in pair.accepted.paths.issued.values:
        before = pair.accepted.statistics().packets_received
        forger.target = value
        forger.send(Ping())
        assert pair.accepted.statistics().packets_received == before + 1


def test_a_retired_id_finds_nothing_and_a_new_one_is_given() -> None:
    pair = Pair()
    pair.established()
    pair.run_for(100 * MILLISECOND)
    forger = Forger(pair)
    assert pair.accepted is not None
    retired = pair.accepted.paths.issued.values[1]
    since = len(pair.wire)
    forger.send(RetireConnectionId(1))
    new = [frame for frame in forger.answers(since) if isinstance(frame, NewConnectionId)]
    assert [frame.sequence for frame in new] == [CONNECTION_ID_LIMIT]
    received = pair.accepted.statistics().packets_received
    forger.target = retired
    forger.send(Ping())
    assert pair.accepted.statistics().packets_received == received
    assert pair.right.drops.counts == {"unknown connection ID": 1}


def test_a_flood_of_connection_ids_closes_the_connection_and_no_more() -> None:
    """Attack: connection-id flood. Cap: CONNECTION_ID_LIMIT kept, then PROTOCOL_VIOLATION."""
    pair = Pair()
    pair.established()
    pair.run_for(100 * MILLISECOND)
    assert pair.accepted is not None
    forger = Forger(pair)
    for sequence in range(4, 1000):
        forger.send(issued(sequence))
        assert len(pair.accepted.paths.peer_ids.active) <= CONNECTION_ID_LIMIT + 1
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.PROTOCOL_VIOLATION


def test_a_flood_of_retirements_that_are_never_acknowledged_closes_it_too() -> None:
    """Attack: each NEW_CONNECTION_ID makes us queue a RETIRE_CONNECTION_ID. Cap: MAX_RETIRING of them."""
    pair = Pair()
    pair.established()
    pair.run_for(100 * MILLISECOND)
    assert pair.accepted is not None
    pair.to_left = lambda datagram, rng: []
    forger = Forger(pair)
    for sequence in range(4, 1000):
        forger.send(issued(sequence, sequence))
        assert len(pair.accepted.builder.control) <= 2 * MAX_RETIRING
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.PROTOCOL_VIOLATION


def test_forgotten_connections_leave_no_id_behind() -> None:
    pair = Pair()
    pair.established()
    pair.run_for(100 * MILLISECOND)
    pair.connection.close(now=pair.now)
    pair.drain()
    pair.run_until(lambda: not pair.left.connections and not pair.right.connections)
    pair.inject(Forger(pair).packet(Ping().encode()), to_right=True)
    assert pair.right.drops.counts == {"unknown connection ID": 1}


def test_a_peer_that_forgot_the_connection_says_so_under_any_of_its_ids() -> None:
    """SPEC 4.3-5: the tokens that came with NEW_CONNECTION_ID count as the handshake's does."""
    pair = Pair()
    pair.established()
    pair.run_for(100 * MILLISECOND)
    frame = pair.connection.paths.peer_ids.active[2]
    reset = b"\x42" + frame.value + frame.reset_token
    assert frame.reset_token == pair.right.identity.reset_token(frame.value)
    pair.inject(reset[:-1] + b"\x00", to_right=False)
    assert pair.closed(right=False) is None
    pair.inject(reset, to_right=False)
    closed = pair.closed(right=False)
    assert closed is not None
    assert closed.code == ErrorCode.STATELESS_RESET


def test_the_token_of_a_retired_id_ends_nothing() -> None:
    """Late packets with a retired ID are unknown to the peer, which answers them so."""
    pair = Pair()
    pair.established()
    pair.run_for(100 * MILLISECOND)
    old = pair.connection.paths.active.peer_id
    pair.connection.migrate(now=pair.now)
    pair.drain()
    pair.run_for(SECOND)
    assert old.sequence not in pair.connection.paths.peer_ids.active
    pair.inject(b"\x42" + old.value + pair.right.identity.reset_token(old.value), to_right=False)
    assert pair.closed(right=False) is None
