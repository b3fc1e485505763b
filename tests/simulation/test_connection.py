"""The life of a connection over literal networks, on virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from random import Random

import pytest

from node.protocol.configuration import Configuration
from node.protocol.errors import ErrorCode, LocalProtocolError
from node.protocol.events import (
    ConnectionEstablished,
    SendingStopped,
    StreamAcknowledged,
    StreamDataReceived,
    StreamReset,
)
from node.protocol.time import MILLISECOND, SECOND, Duration
from node.protocol.wire.crc32c import crc32c
from node.protocol.wire.frames import Ack, MaxStreamData, ResetStream, Stream
from tests.support.pair import LEFT, Fate, Pair, hostile, perfect

MODES = ["selective-repeat", "stop-and-wait", "go-back-n"]
PROFILES = ["aead", "crc32c", "xor"]


def dropping(*numbers: int, delay: Duration = 5 * MILLISECOND) -> Fate:
    """Loses the datagrams of these ordinal numbers."""
    count: Iterator[int] = iter(range(1 << 30))
    return lambda datagram, rng: [] if next(count) in numbers else [delay]


def transfer(pair: Pair, data: bytes) -> int:
    """Send ``data`` from left to right and wait until it is acknowledged."""
    stream_id = pair.connection.open_stream()
    pair.connection.write(stream_id, data, end=True)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    return stream_id


# opening


@pytest.mark.parametrize("lost", [(), (0,), (0, 1), (1,), (1, 2)])
def test_a_connection_opens_whatever_handshake_packet_is_lost(lost: tuple[int, ...]) -> None:
    pair = Pair(to_right=dropping(*lost), to_left=perfect())
    pair.established()
    pair = Pair(to_right=perfect(), to_left=dropping(*lost))
    pair.established()
    assert transfer(pair, b"hello") in pair.right_data


def test_both_ends_learn_the_others_proven_address() -> None:
    pair = Pair()
    pair.established()
    pair.run_for(SECOND)
    assert ConnectionEstablished(pair.right.identity.address, initiator=True) in pair.left_events
    assert ConnectionEstablished(pair.left.identity.address, initiator=False) in pair.right_events


def test_nobody_there_ends_the_attempt_after_the_handshake_timeout() -> None:
    pair = Pair(left=Configuration(handshake_timeout=5 * SECOND), to_right=lambda datagram, rng: [])
    pair.connect()
    pair.run_until(lambda: pair.closed(right=False) is not None)
    closed = pair.closed(right=False)
    assert closed is not None
    assert (closed.code, pair.now) == (ErrorCode.HANDSHAKE_TIMEOUT, 5 * SECOND)
    assert pair.left.connections == ()


def test_a_set_up_packet_for_another_node_is_never_accepted() -> None:
    """SPEC 2-2."""
    pair, other = Pair(seed=1), Pair(seed=2)
    pair.connect()
    other.inject(pair.wire[0][2], to_right=True)
    assert other.right.connections == ()
    assert other.right.drops.counts == {"for another node": 1}


def test_a_profile_that_is_not_accepted_gets_no_answer() -> None:
    """SPEC 3.2-1."""
    pair = Pair(
        left=Configuration(integrity="xor", handshake_timeout=SECOND),
        right=Configuration(accepted_integrity=("aead",)),
    )
    pair.connect()
    pair.run_until(lambda: pair.closed(right=False) is not None)
    assert all(from_left for _, from_left, _ in pair.wire)


def test_before_the_peer_proves_its_address_no_more_is_sent_than_was_received() -> None:
    pair = Pair(to_left=lambda datagram, rng: [], left=Configuration(handshake_timeout=8 * SECOND))
    pair.connect()
    pair.run_until(lambda: pair.closed(right=False) is not None)
    received = sum(len(d) for _, from_left, d in pair.wire if from_left)
    sent = sum(len(d) for _, from_left, d in pair.wire if not from_left)
    assert 0 < sent <= received


def test_a_forged_response_does_not_spoil_the_handshake() -> None:
    pair = Pair()
    pair.connect()
    pair.step()
    response = next(d for _, from_left, d in pair.wire if not from_left)
    other = Pair(seed=9)
    other.connect()
    other.step()
    forged = bytearray(next(d for _, from_left, d in other.wire if not from_left))
    forged[5:38] = response[5:38]  # the right addresses and connection IDs, another's message
    forged[-4:] = crc32c(bytes(forged[:-4])).to_bytes(4, "big")
    pair.inject(bytes(forged), to_right=False)
    assert not pair.left_events
    pair.run_until(lambda: bool(pair.left_events))
    assert isinstance(pair.left_events[0], ConnectionEstablished)


def test_a_node_does_not_connect_to_itself() -> None:
    pair = Pair()
    with pytest.raises(LocalProtocolError, match="itself"):
        pair.right.connect(pair.peer, now=0)


def test_streams_need_an_established_connection() -> None:
    pair = Pair()
    with pytest.raises(LocalProtocolError, match="initiating"):
        pair.connect().open_stream()


# delivery


@pytest.mark.parametrize("arq", MODES)
@pytest.mark.parametrize("integrity", PROFILES)
def test_data_arrives_intact_through_a_hostile_network(arq: str, integrity: str) -> None:
    # xor finds any one flipped bit, which is all the damage this network does to a packet
    fate = hostile(loss=0.2, duplicate=0.05, reorder=0.1, corrupt=0.01)
    configuration = Configuration(arq=arq, integrity=integrity)
    pair = Pair(left=configuration, to_right=fate, seed=5)
    pair.established()
    data = Random(1).randbytes(300_000)
    stream_id = transfer(pair, data)
    pair.run_until(lambda: len(pair.right_data[stream_id]) >= len(data))
    assert pair.right_data[stream_id] == data


def test_a_clean_network_sees_no_loss_and_no_retransmission() -> None:
    pair = Pair(traced=True)
    pair.established()
    transfer(pair, bytes(1_000_000))
    statistics = pair.connection.statistics()
    assert (statistics.packets_lost, statistics.retransmitted_packets) == (0, 0)
    assert statistics.stream_bytes_acked == 1_000_000
    pair.expect_quiet()


def test_many_streams_both_ways_at_once() -> None:
    pair = Pair(to_right=hostile(loss=0.05), seed=3)
    pair.established()
    assert pair.accepted is not None
    sent: dict[bool, dict[int, bytes]] = {True: {}, False: {}}
    for number in range(40):
        for left, connection in ((True, pair.connection), (False, pair.accepted)):
            stream_id = connection.open_stream(unidirectional=number % 2 == 0)
            sent[left][stream_id] = Random(stream_id).randbytes(number * 997)
            connection.write(stream_id, sent[left][stream_id], end=True)
    pair.drain()
    pair.run_until(
        lambda: (
            {s: bytes(d) for s, d in pair.right_data.items() if s in sent[True]} == sent[True]
            and {s: bytes(d) for s, d in pair.left_data.items() if s in sent[False]} == sent[False]
        )
    )


def test_the_end_of_a_stream_is_told_even_when_older_news_is_unread() -> None:
    pair = Pair(read=False, traced=True)
    pair.established()
    stream_id = pair.connection.open_stream()
    pair.connection.write(stream_id, b"first")
    pair.drain()
    pair.run_for(100 * MILLISECOND)
    pair.connection.write(stream_id, b"last", end=True)
    pair.drain()
    pair.run_for(100 * MILLISECOND)
    assert pair.right_events[-1] == StreamDataReceived(stream_id, ended=True)
    pair.expect_quiet()


def test_stop_and_wait_has_one_data_packet_on_the_way_at_a_time() -> None:
    """SPEC 7-2."""
    pair = Pair(left=Configuration(arq="stop-and-wait"), traced=True)
    pair.established()
    begin = pair.now
    transfer(pair, bytes(50_000))
    times = [t for t, from_left, d in pair.wire if from_left and t >= begin and len(d) > 500]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) >= 10 * MILLISECOND  # a round trip
    pair.expect_quiet()


def test_the_same_seed_gives_the_same_packets() -> None:
    def run() -> list[tuple[int, bool, bytes]]:
        pair = Pair(to_right=hostile(loss=0.1, reorder=0.2, corrupt=0.05), seed=11)
        pair.established()
        transfer(pair, bytes(100_000))
        return pair.wire

    assert run() == run()


# windows


def test_nothing_is_sent_beyond_the_receivers_window() -> None:
    """SPEC 6-2, 6.1-1."""
    pair = Pair(right=Configuration(stream_window=20_000, connection_window=50_000), read=False, traced=True)
    pair.established()
    stream_id = pair.connection.open_stream()
    pair.connection.write(stream_id, bytes(1_000_000))
    pair.drain()
    pair.run_for(5 * SECOND)
    windows = pair.connection.windows(stream_id)
    assert windows.receive == (20_000, 20_000)
    assert windows.shared == (20_000, 20_000)
    assert pair.connection.statistics().limited_by == "flow-control"
    assert pair.accepted is not None
    assert len(pair.accepted.read(stream_id)) == 20_000
    pair.drain()
    pair.run_for(5 * SECOND)
    assert pair.connection.windows(stream_id).receive == (40_000, 40_000)
    pair.expect_quiet()


def test_the_connections_window_bounds_all_streams_together() -> None:
    """SPEC 6-2."""
    pair = Pair(right=Configuration(stream_window=20_000, connection_window=50_000), read=False, traced=True)
    pair.established()
    for _ in range(4):
        pair.connection.write(pair.connection.open_stream(), bytes(100_000))
    pair.drain()
    pair.run_for(5 * SECOND)
    assert pair.connection.statistics().stream_bytes_acked == 50_000
    pair.expect_quiet()


# a peer that breaks the rules


def closed_by_right(pair: Pair) -> int:
    pair.drain()
    pair.run_until(lambda: pair.closed(right=True) is not None)
    closed = pair.closed(right=True)
    assert closed is not None
    return closed.code


def test_an_acknowledgement_of_what_was_never_sent_closes() -> None:
    """SPEC 5-2."""
    pair = Pair()
    connection = pair.established()
    connection.builder.control.append(Ack(((1 << 40, (1 << 40) + 1),), 0))
    connection.write(connection.open_stream(), b"x")
    assert closed_by_right(pair) == ErrorCode.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (Stream(0, 30_000, b"x"), ErrorCode.FLOW_CONTROL),
        (Stream(400, 0, b"x"), ErrorCode.STREAM_LIMIT),
        (Stream(1, 0, b"x"), ErrorCode.STREAM_STATE),
        (Stream(3, 0, b"x"), ErrorCode.STREAM_STATE),
        (MaxStreamData(2, 5), ErrorCode.STREAM_STATE),
        (ResetStream(0, 0, 1 << 60), ErrorCode.FLOW_CONTROL),
    ],
)
def test_frames_against_the_rules_close_with_their_code(frame: Stream, code: ErrorCode) -> None:
    """SPEC 6-2, 6-5."""
    pair = Pair(right=Configuration(stream_window=20_000, connection_window=50_000, max_streams_bidi=100))
    connection = pair.established()
    connection.builder.control.append(frame)
    connection.write(connection.open_stream(unidirectional=True), b"x")
    assert closed_by_right(pair) == code


def test_data_beyond_a_streams_end_closes() -> None:
    pair = Pair()
    connection = pair.established()
    transfer_id = connection.open_stream()
    connection.builder.control.extend(
        [Stream(transfer_id, 0, b"abc", fin=True), Stream(transfer_id, 3, b"d")]
    )
    connection.write(connection.open_stream(), b"x")
    assert closed_by_right(pair) == ErrorCode.FINAL_SIZE


def test_replayed_packets_change_nothing() -> None:
    """SPEC 4-2."""
    pair = Pair()
    pair.established()
    data = Random(2).randbytes(50_000)
    stream_id = transfer(pair, data)
    assert pair.accepted is not None
    before = pair.accepted.statistics()
    for _, from_left, datagram in list(pair.wire):
        if from_left:
            pair.inject(datagram, to_right=True)
    after = pair.accepted.statistics()
    assert pair.right_data[stream_id] == data
    assert after.packets_received == before.packets_received
    assert after.duplicate_packets - before.duplicate_packets > 30
    assert len(pair.right.connections) == 1


def test_random_bytes_neither_stop_nor_slow_a_transfer() -> None:
    def seconds(*, garbage: bool) -> float:
        pair = Pair(seed=4)
        pair.established()
        rng = Random(3)
        stream_id = pair.connection.open_stream()
        pair.connection.write(stream_id, bytes(2_000_000), end=True)
        pair.drain()
        ids = [pair.connection.connection_id, pair.accepted.connection_id if pair.accepted else b""]

        def done() -> bool:
            if garbage:
                junk = rng.randbytes(rng.randrange(1500))
                kind = rng.choice([b"", b"\x41" + ids[0], b"\x41" + ids[1], b"\xc1", b"\xc2"])
                pair.inject(kind + junk, to_right=rng.random() < 0.5, source=("evil", 666))
            return StreamAcknowledged(stream_id) in pair.left_events

        pair.run_until(done)
        return pair.now / SECOND

    # not equal: looking at the pacer at other instants rounds its tokens otherwise
    assert abs(seconds(garbage=True) - seconds(garbage=False)) < 0.001


# ending


def test_close_reaches_the_other_side_with_code_and_reason() -> None:
    """SPEC 9-1."""
    pair = Pair()
    pair.established()
    pair.connection.close(0x123, "enough", now=pair.now)
    pair.drain()
    pair.run_until(lambda: pair.closed(right=True) is not None)
    closed = pair.closed(right=True)
    assert closed is not None
    assert (closed.code, closed.reason, closed.remote) == (0x123, "enough", True)
    pair.run_for(60 * SECOND)
    assert pair.left.connections == pair.right.connections == ()
    assert pair.left.next_timeout() is None


def test_a_lost_close_is_said_again_when_the_peer_goes_on() -> None:
    """SPEC 9-1."""
    pair = Pair()
    pair.established()
    assert pair.accepted is not None
    stream_id = pair.accepted.open_stream()
    pair.to_right = dropping(0)
    pair.connection.close(7, now=pair.now)
    pair.drain()
    pair.accepted.write(stream_id, b"are you there")
    pair.drain()
    pair.run_until(lambda: pair.closed(right=True) is not None)


def test_an_idle_connection_is_dropped_in_silence() -> None:
    """SPEC 9-2."""
    pair = Pair(left=Configuration(idle_timeout=3 * SECOND))
    pair.established()
    pair.run_for(SECOND)
    packets = len(pair.wire)
    pair.run_until(lambda: bool(pair.closed(right=True) and pair.closed(right=False)))
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.IDLE_TIMEOUT
    assert len(pair.wire) == packets
    assert pair.left.connections == pair.right.connections == ()


def test_a_stream_that_is_reset_is_told_and_the_others_go_on() -> None:
    pair = Pair(read=False, traced=True)
    connection = pair.established()
    first, second = connection.open_stream(), connection.open_stream()
    connection.write(first, bytes(10_000))
    connection.write(second, bytes(10_000), end=True)
    pair.drain()
    connection.reset_stream(first, 42)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(second) in pair.left_events)
    pair.run_for(SECOND)
    assert StreamReset(first, 42) in pair.right_events
    pair.expect_quiet()


def test_stop_sending_resets_the_peers_half() -> None:
    """SPEC 6-4."""
    pair = Pair(read=False, traced=True)
    connection = pair.established()
    stream_id = connection.open_stream()
    connection.write(stream_id, bytes(10_000))
    pair.drain()
    pair.run_for(SECOND)
    assert pair.accepted is not None
    pair.accepted.stop_sending(stream_id, 9)
    pair.drain()
    pair.run_for(SECOND)
    assert SendingStopped(stream_id, 9) in pair.left_events
    assert StreamReset(stream_id, 9) in pair.right_events
    pair.expect_quiet()


def test_more_streams_than_the_limit_can_be_used_one_after_the_other() -> None:
    pair = Pair(right=Configuration(max_streams_bidi=4), traced=True)
    connection = pair.established()
    for number in range(20):
        stream_id = transfer(pair, bytes(number))
        assert pair.accepted is not None
        pair.accepted.write(stream_id, b"", end=True)
        pair.drain()
        pair.run_for(SECOND)
    opened = [connection.open_stream() for _ in range(4)]
    with pytest.raises(LocalProtocolError, match="allows"):
        connection.open_stream()
    assert opened == [80, 84, 88, 92]
    pair.expect_quiet()


def test_datagrams_of_no_length_are_ignored() -> None:
    """SPEC 1-3."""
    pair = Pair()
    pair.established()
    assert pair.accepted is not None
    pair.run_for(SECOND)
    packets, before = len(pair.wire), pair.accepted.statistics()
    for source in (LEFT, ("nobody", 3)):
        pair.inject(b"", to_right=True, source=source)
    assert (len(pair.wire), pair.accepted.statistics()) == (packets, before)
    assert pair.right.drops.counts == {}
    transfer(pair, b"x")
