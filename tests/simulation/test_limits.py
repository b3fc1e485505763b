"""Both sides of the limits: packet numbers, datagram sizes, windows of nothing, streams of no bytes."""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.configuration import Configuration
from node.protocol.datagrams import Burst
from node.protocol.errors import LocalProtocolError
from node.protocol.events import StreamAcknowledged, StreamDataReceived, StreamOpened
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.frames import Ack, Ping, Stream
from tests.support.forge import Forger
from tests.support.pair import LEFT, Pair, hostile

PROFILES = ["aead", "crc32c", "xor"]


def deaf(pair: Pair) -> Forger:
    """The left end hears and says nothing more: a forger speaks in its place."""
    pair.run_for(SECOND)
    pair.to_left = pair.to_right = lambda datagram, rng: []
    return Forger(pair)


@pytest.mark.parametrize("profile", PROFILES)
def test_packet_numbers_go_on_beyond_32_bits(profile: str) -> None:
    """Only the low half is on the wire; tag and nonce cover the whole (SPEC 4-1; SPEC 4.1-1, 4.1-2, 4.1-3:
    the forger seals by its own reading)."""
    pair = Pair(left=Configuration(integrity=profile))
    pair.established()
    forger = deaf(pair)
    for number in ((1 << 31) - 10, (1 << 32) - 6):
        forger.send(Ping(), number=number)
    forger.send(Stream(2, 0, b"a" * 10), number=(1 << 32) - 5)
    burst = b""
    for index in range(10):
        offset = (10 + 50 * index | 0xC000_0000_0000_0000).to_bytes(8, "big")
        payload = b"\x08" + bytes.fromhex("80000002") + offset + bytes([65 + index]) * 50
        burst += forger.seal(payload, (1 << 32) - 4 + index)
    pair.right.receive(Burst(LEFT, memoryview(bytearray(burst)), len(burst) // 10), now=pair.now)
    pair.drain()
    assert len(pair.right_data[2]) == 510
    last = [frame for frame in forger.answers() if isinstance(frame, Ack)][-1]
    assert last.ranges[0] == ((1 << 32) - 6, (1 << 32) + 6)


@pytest.mark.parametrize("profile", ["aead", "crc32c"])
def test_the_high_half_of_a_packet_number_is_checked(profile: str) -> None:
    pair = Pair(left=Configuration(integrity=profile))
    pair.established()
    forger = deaf(pair)
    forger.send(Stream(2, 0, b"x"), number=forger.number + (1 << 32))
    assert StreamOpened(2) not in pair.right_events
    forger.send(Stream(2, 0, b"x"), number=forger.number)
    assert StreamOpened(2) in pair.right_events


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("left", "right"), [(1200, 65_507), (9000, 1200), (9000, 9000), (32_000, 65_507)])
def test_packets_are_as_large_as_both_ends_accept(profile: str, left: int, right: int) -> None:
    pair = Pair(
        left=Configuration(integrity=profile, max_datagram_size=left),
        right=Configuration(max_datagram_size=right),
        to_right=hostile(loss=0.05), seed=2,
    )  # fmt: skip
    pair.established()
    data = Random(1).randbytes(300_000)
    stream_id = pair.connection.open_stream()
    pair.connection.write(stream_id, data, end=True)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    assert pair.right_data[stream_id] == data
    assert max(len(d) for _, from_left, d in pair.wire if d[0] == 0x41) == min(left, right)


def test_a_stream_of_no_bytes_ends_on_both_sides() -> None:
    pair = Pair()
    connection = pair.established()
    stream_id = connection.open_stream(unidirectional=True)
    connection.write(stream_id, b"")
    connection.write(stream_id, b"", end=True)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    assert StreamDataReceived(stream_id, ended=True) in pair.right_events
    with pytest.raises(LocalProtocolError):
        connection.write(stream_id, b"")


def test_a_window_that_is_full_to_the_byte_lets_the_end_pass() -> None:
    pair = Pair(right=Configuration(stream_window=5000, connection_window=5000), read=False)
    connection = pair.established()
    stream_id = connection.open_stream()
    connection.write(stream_id, bytes(5000))
    pair.drain()
    pair.run_for(SECOND)
    connection.write(stream_id, b"", end=True)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)


def test_many_small_writes_are_one_stream() -> None:
    pair = Pair(to_right=hostile(loss=0.1), seed=3)
    connection = pair.established()
    stream_id = connection.open_stream()
    pieces = [Random(index).randbytes(index % 7) for index in range(3000)]
    for piece in pieces:
        connection.write(stream_id, piece)
    connection.write(stream_id, b"", end=True)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    assert pair.right_data[stream_id] == b"".join(pieces)


def test_a_responder_may_allow_no_streams_at_all() -> None:
    pair = Pair(right=Configuration(max_streams_bidi=0, max_streams_uni=1))
    connection = pair.established()
    with pytest.raises(LocalProtocolError, match="allows 0 streams"):
        connection.open_stream()
    assert connection.open_stream(unidirectional=True) == 2
    with pytest.raises(LocalProtocolError, match="allows 1 streams"):
        connection.open_stream(unidirectional=True)


@pytest.mark.parametrize("name", ["max_streams_bidi", "max_streams_uni"])
def test_no_peer_may_be_allowed_more_streams_than_memory_holds(name: str) -> None:
    """One frame opens all the lower ones of its kind (SPEC 6-5)."""
    most = {name: 1 << 16}
    Configuration(**most)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match=name):
        Configuration(**{name: (1 << 16) + 1})  # type: ignore[arg-type]


def test_a_black_hole_is_probed_at_a_bounded_pace_for_ever() -> None:
    """With no idle time-out nothing ends it."""
    pair = Pair(left=Configuration(idle_timeout=0), right=Configuration(idle_timeout=0))
    connection = pair.established()
    connection.write(connection.open_stream(), bytes(100_000))
    pair.run_for(5 * MILLISECOND)
    pair.to_right = pair.to_left = lambda datagram, rng: []
    pair.drain()
    before = connection.statistics().packets_sent
    pair.run_for(3600 * SECOND)
    sent = connection.statistics().packets_sent - before
    assert 1000 < sent < 2 * 3600 // 3 + 50
