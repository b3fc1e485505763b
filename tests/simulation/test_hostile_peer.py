"""A peer with the right keys that breaks or bends the rules: no exception, bounded memory."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from node.protocol.configuration import MAX_HALF_OPEN, Configuration
from node.protocol.datagrams import Burst, SocketAddress
from node.protocol.endpoint import MAX_CONNECTIONS
from node.protocol.errors import ErrorCode, LocalProtocolError
from node.protocol.events import (
    ConnectionClosed,
    ConnectionEstablished,
    SendingStopped,
    StreamDataReceived,
    StreamOpened,
    StreamReset,
)
from node.protocol.handshake import Initiator
from node.protocol.identity import Identity, Peer
from node.protocol.noise import Handshake
from node.protocol.streams.receive import MAX_GAPS
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.frames import (
    Ack,
    Close,
    Frame,
    MaxData,
    MaxStreamData,
    MaxStreams,
    ResetStream,
    StopSending,
    Stream,
)
from node.protocol.wire.parameters import TransportParameters
from node.protocol.wire.setup import INITIATION, RETRY, VERSION, SetupPacket, parse_setup
from tests.support.forge import Forger
from tests.support.pair import LEFT, Pair


def forged(
    *, left: Configuration | None = None, right: Configuration | None = None, read: bool = True
) -> tuple[Pair, Forger]:
    """An established pair whose left end is replaced by a forger: it hears and says nothing more."""
    pair = Pair(left=left, right=right, read=read)
    pair.established()
    pair.run_for(SECOND)
    pair.to_left = pair.to_right = lambda datagram, rng: []
    return pair, Forger(pair)


# CLOSE


@pytest.mark.parametrize(
    "behind",
    [
        Close(2, "again"),
        StopSending(1, 0),
        StopSending(0, 0),
        Stream(0, 0, b"late"),
        ResetStream(0, 1, 0),
        Ack(((1 << 40, (1 << 40) + 1),), 0),
    ],
)
def test_what_stands_behind_close_is_not_read(behind: Frame) -> None:
    """SPEC 5-4."""
    pair, forger = forged()
    assert pair.accepted is not None
    pair.accepted.write(pair.accepted.open_stream(), b"x")
    pair.drain()
    forger.send(Stream(0, 0, b"before"), Close(0x101, "over"), behind)
    assert pair.right_events[-1] == ConnectionClosed(0x101, "over", remote=True)
    assert sum(isinstance(event, ConnectionClosed) for event in pair.right_events) == 1


def test_nothing_is_told_after_the_end() -> None:
    pair, forger = forged()
    packets = [forger.packet(frame.encode()) for frame in (Close(7, ""), Stream(0, 0, b"x"), Close(8, ""))]
    for packet in packets:
        pair.inject(packet, to_right=True)
    pair.run_for(60 * SECOND)
    assert pair.right_events[-1] == ConnectionClosed(7, "", remote=True)
    assert pair.right.connections == ()
    assert pair.right.next_timeout() is None


# RESET_STREAM and STOP_SENDING


def test_a_repeated_reset_is_told_and_credited_once() -> None:
    """SPEC 6-4."""
    pair, forger = forged(right=Configuration(stream_window=20_000, connection_window=50_000))
    before = len(pair.wire)
    for _ in range(20):
        forger.send(ResetStream(0, 5, 10_000))
    pair.run_for(SECOND)
    assert pair.right_events.count(StreamReset(0, 5)) == 1
    assert not [frame for frame in forger.answers(before) if isinstance(frame, MaxData)]
    forger.send(Stream(4, 0, bytes(1000)), Stream(8, 19_999, b"x"), Stream(12, 19_001, b"x"))
    pair.run_for(SECOND)
    assert pair.closed(right=True) is not None  # 10,000 + 1,000 + 20,000 + 19,002 is beyond 50,000


def test_a_repeated_reset_with_another_size_closes() -> None:
    pair, forger = forged()
    forger.send(ResetStream(0, 5, 10_000))
    forger.send(ResetStream(0, 5, 10_001))
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.FINAL_SIZE


def test_streams_that_are_reset_give_the_connection_its_credit_back() -> None:
    """Else a sender that gives up unread streams would stand still for ever."""
    window = Configuration(stream_window=20_000, connection_window=40_000)
    pair = Pair(left=window, right=window, read=False)
    connection = pair.established()
    for _ in range(10):
        given_up = [connection.open_stream(unidirectional=True) for _ in range(2)]
        for stream_id in given_up:
            connection.write(stream_id, bytes(20_000))
        pair.drain()
        pair.run_for(SECOND)
        for stream_id in given_up:
            assert connection.backlog(stream_id) == 0
            connection.reset_stream(stream_id, 1)
        pair.drain()
        pair.run_for(SECOND)


def test_stop_sending_may_come_before_the_stream_it_is_about() -> None:
    pair = Pair()
    connection = pair.established()
    stream_id = connection.open_stream()
    connection.write(stream_id, b"one way only", end=True)
    connection.stop_sending(stream_id, 3)
    pair.drain()
    pair.run_for(SECOND)
    assert pair.closed(right=True) is None
    assert StreamOpened(stream_id) in pair.right_events
    assert SendingStopped(stream_id, 3) in pair.right_events
    assert pair.right_data[stream_id] == b"one way only"


@pytest.mark.parametrize("frame", [StopSending(0, 1), MaxStreamData(0, 1 << 30)])
def test_frames_about_the_senders_half_open_the_peers_stream(frame: Frame) -> None:
    """SPEC 6-5."""
    pair, forger = forged()
    forger.send(frame)
    assert StreamOpened(0) in pair.right_events


@pytest.mark.parametrize("frame", [StopSending(4 * 128, 1), MaxStreamData(4 * 128, 1)])
def test_they_open_no_more_than_the_limit(frame: Frame) -> None:
    pair, forger = forged()
    forger.send(frame)
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.STREAM_LIMIT


def test_a_stream_that_the_peer_stopped_takes_no_more_data() -> None:
    pair, forger = forged()
    assert pair.accepted is not None
    stream_id = pair.accepted.open_stream()
    pair.accepted.write(stream_id, b"x")
    pair.drain()
    forger.send(StopSending(stream_id, 3), StopSending(stream_id, 3))
    assert pair.right_events.count(SendingStopped(stream_id, 3)) == 1
    with pytest.raises(LocalProtocolError, match="reset sent"):
        pair.accepted.write(stream_id, b"y")


# go-back-n


def test_go_back_n_takes_two_pieces_of_one_stream_in_one_packet() -> None:
    pair, forger = forged(left=Configuration(arq="go-back-n"))
    forger.send(Stream(0, 0, b"first, "), Stream(0, 7, b"second", fin=True))
    assert pair.right_data[0] == b"first, second"
    forger.send(Stream(4, 0, b"first, "), Stream(4, 8, b"early", fin=True))
    assert StreamOpened(4) not in pair.right_events


# what a damaged packet leaves behind where damage may slip through (SPEC 5-1)


@pytest.mark.parametrize("bad", [Stream(0, 1 << 40, b"x", fin=True), ResetStream(0, 1, 1 << 40)])
def test_a_refused_frame_of_a_checksum_profile_changes_nothing(bad: Frame) -> None:
    pair, forger = forged(left=Configuration(integrity="crc32c"))
    forger.send(Stream(0, 0, b"one "))
    forger.send(bad)
    forger.send(Stream(0, 4, b"two", fin=True))
    forger.send(Stream(4, 0, b"three", fin=True))
    assert pair.closed(right=True) is None
    assert pair.right_data[0] == b"one two"
    assert pair.right_data[4] == b"three"


# bounds


def test_a_packet_that_would_open_too_many_gaps_counts_as_lost() -> None:
    """SPEC 6-6."""
    pair, forger = forged()
    base = forger.number
    for index in range(1, MAX_GAPS + 3):
        forger.send(Stream(0, 2 * index, b"x"))
    pair.run_for(SECOND)
    assert pair.closed(right=True) is None
    ack = [frame for frame in forger.answers() if isinstance(frame, Ack)][-1]
    assert ack.ranges[0] == (0, base + MAX_GAPS)
    for offset in (0, 1000, 2000):
        forger.send(Stream(0, offset, bytes(1000), fin=offset == 2000))
    assert StreamDataReceived(0, ended=True) in pair.right_events


def test_a_packet_longer_than_we_accept_is_dropped() -> None:
    """SPEC 4-4."""
    pair, forger = forged(left=Configuration(integrity="crc32c"))
    forger.send(Stream(0, 0, bytes(1452 - 13 - 4 - 3), fin=True, has_length=False))
    assert StreamOpened(0) in pair.right_events
    forger.send(Stream(4, 0, bytes(1452 - 13 - 4 - 3 + 1), fin=True, has_length=False))
    assert StreamOpened(4) not in pair.right_events


def test_a_peer_that_never_acknowledges_makes_us_send_no_more_than_a_window() -> None:
    """Every stream that is over may be answered with credit for another: a flood must not pile up."""
    pair, forger = forged(right=Configuration(idle_timeout=0))
    assert pair.accepted is not None
    begin = len(pair.wire)
    for batch in range(600):
        forger.send(*(ResetStream(batch * 100 + index << 2 | 2, 0, 0) for index in range(100)))
    assert pair.closed(right=True) is None
    assert any(isinstance(frame, MaxStreams) for frame in forger.answers(begin))
    assert pair.accepted.statistics().bytes_in_flight <= 14_520  # the initial window


def test_one_packet_full_of_streams_gets_one_answer() -> None:
    """SPEC 5-5."""
    pair, forger = forged(right=Configuration(max_streams_uni=128))
    begin = len(pair.wire)
    forger.send(*(ResetStream(index << 2 | 2, 0, 0) for index in range(200)))
    limits = [frame.maximum for frame in forger.answers(begin) if isinstance(frame, MaxStreams)]
    assert limits == [128 + 192]


def test_reasons_for_drops_are_few_whatever_the_peer_writes() -> None:
    """The reason becomes a key: a peer that chooses it would fill our memory."""
    pair = Pair()
    reasons = set()
    for number in range(50):
        packet = _initiation(pair, Random(number), tail=bytes((0x40, number, 63)))
        pair.inject(packet, to_right=True)
        reasons |= set(pair.right.drops.counts)
    assert pair.right.connections == ()
    assert reasons == {"bad transport parameter: one twice or truncated"}


def test_a_flood_of_initiations_keeps_no_honest_peer_out() -> None:
    """SPEC 3-5."""
    pair = Pair()
    for number in range(MAX_HALF_OPEN + 50):
        _flood(pair, Random(number), ("evil", number))
    assert len(pair.right.connections) == MAX_HALF_OPEN < MAX_CONNECTIONS
    pair.connect()
    pair.run_until(lambda: any(isinstance(event, ConnectionEstablished) for event in pair.right_events))
    for number in range(50):
        _flood(pair, Random(f"again {number}"), ("evil", number))
    assert pair.accepted in pair.right.connections
    pair.run_for(120 * SECOND)
    assert not [c for c in pair.right.connections if c is not pair.accepted]


def _flood(pair: Pair, rng: Random, source: SocketAddress) -> None:
    """One connection of a flood from addresses that are its own: it can bring cookies back (SPEC 3.4)."""
    pair.inject(_with_cookie(pair, _initiation(pair, rng), source), to_right=True, source=source)


def _with_cookie(pair: Pair, initiation: bytes, source: SocketAddress) -> bytes:
    """The INITIATION with a cookie, once it needs one."""
    if pair.right.half_open < Configuration().retry_threshold:
        return initiation
    pair.inject(initiation, to_right=True, source=source)
    retry, asked = (parse_setup(memoryview(datagram)) for datagram in (pair.wire[-1][2], initiation))
    assert isinstance(retry, SetupPacket)
    assert isinstance(asked, SetupPacket)
    assert retry.kind == RETRY
    return replace(asked, cookie=retry.cookie, packet_number=1).encode()


def _initiation(pair: Pair, rng: Random, *, tail: bytes = b"") -> bytes:
    """A valid INITIATION of a node nobody knows; ``tail`` spoils its parameters."""
    identity = Identity(rng.randbytes(32))
    initiator = Initiator(identity, pair.peer, Configuration(), rng.randbytes(8), rng)
    return initiator.initiation() if not tail else _with_tail(identity, pair.peer, rng, tail)


def _with_tail(identity: Identity, peer: Peer, rng: Random, tail: bytes) -> bytes:
    connection_id = rng.randbytes(8)
    suite = Configuration().suite
    addresses = peer.address.to_bytes(8, "big") + identity.address.to_bytes(8, "big")
    noise = Handshake(
        suite.protocol_name,
        initiator=True,
        prologue=b"Strait" + VERSION.to_bytes(4, "big") + bytes((suite.code,)) + addresses + connection_id,
        static=identity.private_key,
        ephemeral=rng.randbytes(32),
        remote_static=peer.public_key,
    )
    message = noise.write_message(TransportParameters.of(Configuration(), connection_id).encode() + tail)
    return SetupPacket(
        INITIATION, suite.code, peer.address, identity.address, bytes(8), connection_id, 0, message
    ).encode()


# the local caller


@pytest.mark.parametrize("code", [-1, 1 << 62])
def test_codes_that_do_not_fit_the_wire_are_refused_at_the_call(code: int) -> None:
    pair = Pair()
    connection = pair.established()
    stream_id = connection.open_stream()
    with pytest.raises(LocalProtocolError, match="code"):
        connection.reset_stream(stream_id, code)
    with pytest.raises(LocalProtocolError, match="code"):
        connection.stop_sending(stream_id, code)
    with pytest.raises(LocalProtocolError, match="code"):
        connection.close(code, now=pair.now)
    connection.close((1 << 62) - 1, "\N{GRINNING FACE}" * 400, now=pair.now)
    pair.drain()
    pair.run_until(lambda: pair.closed(right=True) is not None)
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.reason == "\N{GRINNING FACE}" * 128


def test_two_connections_between_the_same_nodes_are_apart() -> None:
    pair = Pair()
    first = pair.established()
    second = pair.left.connect(pair.peer, configuration=Configuration(arq="go-back-n"), now=pair.now)
    pair.drain()
    pair.run_for(SECOND)
    one, other = first.open_stream(), second.open_stream()
    first.write(one, Random(1).randbytes(200_000), end=True)
    second.write(other, Random(2).randbytes(200_000), end=True)
    pair.drain()
    pair.run_for(SECOND)
    assert first.statistics().stream_bytes_acked == second.statistics().stream_bytes_acked == 200_000
    first.close(now=pair.now)
    pair.drain()
    pair.run_for(MILLISECOND * 20)
    assert (first.closed, second.closed) == (True, False)


def test_an_endpoint_closed_before_it_answered_forgets_its_connections() -> None:
    pair = Pair(to_left=lambda datagram, rng: [])
    pair.connect()
    pair.run_for(20 * MILLISECOND)
    for endpoint in (pair.left, pair.right):
        endpoint.close(now=pair.now)
    pair.drain()
    pair.run_for(SECOND)
    assert pair.left.connections == pair.right.connections == ()
    assert pair.next_time() is None


# many connections


def test_a_confirmation_and_a_flood_in_one_burst_forget_nobody() -> None:
    """The first of the flood comes before the endpoint has looked at what was confirmed."""
    pair = Pair()
    pair.connect()
    pair.run_for(5 * MILLISECOND)  # the RESPONSE is on its way
    for number in range(MAX_HALF_OPEN - 1):
        _flood(pair, Random(number), ("evil", number))
    late = _with_cookie(pair, _initiation(pair, Random("late")), LEFT)
    pair.to_right = lambda datagram, rng: []
    pair.run_for(5 * MILLISECOND)
    _, from_left, confirmation = pair.wire[-1]
    assert from_left
    for datagram in (confirmation, late):  # and no turn to drain in between
        pair.right.receive(Burst(LEFT, memoryview(bytearray(datagram)), len(datagram)), now=pair.now)
    pair.drain()
    pair.run_for(SECOND)
    assert pair.accepted in pair.right.connections
    pair.run_for(200 * SECOND)
    assert pair.right.next_timeout() is None


def test_packets_of_two_connections_may_alternate_in_one_burst() -> None:
    pair = Pair()
    first = pair.established()
    second = pair.left.connect(pair.peer, now=pair.now)
    pair.drain()
    pair.run_for(SECOND)
    held: list[bytes] = []

    def hold(datagram: bytearray, rng: Random) -> list[int]:
        held.append(bytes(datagram))
        return []

    pair.to_right = hold
    data = {connection: Random(index).randbytes(12_000) for index, connection in enumerate((first, second))}
    streams = {connection: connection.open_stream() for connection in (first, second)}
    for connection, stream_id in streams.items():
        connection.write(stream_id, data[connection])
    pair.drain()
    size = len(held[0])
    by_connection: dict[bytes, list[bytes]] = {}
    for datagram in held:
        if len(datagram) == size:
            by_connection.setdefault(datagram[1:9], []).append(datagram)
    one, other = by_connection.values()
    burst = b"".join(a + b for a, b in zip(one, other, strict=False))
    pair.right.receive(Burst(LEFT, memoryview(bytearray(burst)), size), now=pair.now)
    received = {}
    while (found := pair.right.next_event()) is not None:
        connection, event = found
        assert isinstance(event, StreamOpened | StreamDataReceived)
        if isinstance(event, StreamDataReceived):
            received[connection] = bytes(connection.read(event.stream_id))
    assert len(received) == 2
    for start, whole in zip(received.values(), data.values(), strict=True):
        assert len(start) >= 8000
        assert whole.startswith(start)


def test_connections_with_much_to_send_take_turns() -> None:
    pair = Pair()
    first = pair.established()
    second = pair.left.connect(pair.peer, now=pair.now)
    pair.drain()
    pair.run_for(SECOND)
    for connection in (first, second):
        connection.write(connection.open_stream(), bytes(3_000_000))
    begin = len(pair.wire)
    pair.drain()
    pair.run_for(300 * MILLISECOND)
    count: dict[bytes, int] = {}
    for _, from_left, datagram in pair.wire[begin:]:
        if from_left:
            count[datagram[1:9]] = count.get(datagram[1:9], 0) + 1
    low, high = sorted(count.values())
    assert high < 1.1 * low


def test_packets_for_nobody_leave_no_trace_but_a_count() -> None:
    """SPEC 2-3, 1-2; the answers are few (SPEC 4.3-4)."""
    pair = Pair()
    rng = Random(1)
    for _ in range(500):
        pair.inject(b"\x41" + rng.randbytes(40), to_right=True)
        pair.inject(bytes((rng.randrange(0x60, 0xC1),)) + rng.randbytes(40), to_right=True)
    assert pair.right.drops.counts == {"unknown connection ID": 500, "unknown packet type": 500}
    assert [(from_left, datagram[0]) for _, from_left, datagram in pair.wire] == [(False, 0x42)] * 64
    assert pair.right.next_timeout() is None
