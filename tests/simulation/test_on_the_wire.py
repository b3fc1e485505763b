"""The requirements that show on the wire, each looked at there: bytes, numbers, order, instants."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from random import Random

import pytest

from node.dissectors.protection import TagError, opener
from node.protocol.arq.base import ARQ_MODES
from node.protocol.configuration import INTEGRITY_CODES, Configuration
from node.protocol.datagrams import Burst
from node.protocol.events import ConnectionEstablished, StreamAcknowledged
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.frames import Ack, Close, MaxData, MaxStreamData, Ping, Stream
from node.protocol.wire.parameters import parse_parameters
from node.protocol.wire.setup import INITIATION, RESPONSE
from tests.support.forge import Forger
from tests.support.pair import LEFT, Fate, Pair, hostile, perfect
from tests.support.tap import seen, streams

DATA = 0x41
DELAY = 5 * MILLISECOND
every_mode = pytest.mark.parametrize("arq", ARQ_MODES.names())
every_profile = pytest.mark.parametrize("profile", sorted(INTEGRITY_CODES))


def losing(*ordinals: int) -> Fate:
    """Loses the datagrams of these ordinal numbers, and delivers all others."""
    count: Iterator[int] = iter(range(1 << 30))
    return lambda datagram, rng: [] if next(count) in ordinals else [DELAY]


def transfer(pair: Pair, data: bytes) -> int:
    """Send ``data`` from left to right until all of it is acknowledged."""
    stream_id = pair.connection.open_stream()
    pair.connection.write(stream_id, data, end=True)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    return stream_id


# set-up packets


def test_set_up_packets_are_1200_bytes_whatever_they_carry() -> None:
    """SPEC 3-1, and the padding is zeros up to the CRC."""
    pair = Pair(to_left=losing(0))
    pair.established()
    packets = [datagram for _, _, datagram in pair.wire if datagram[0] in (INITIATION, RESPONSE)]
    assert [packet[0] for packet in packets] == [0xC1, 0xC2, 0xC1, 0xC2]
    assert {len(packet) for packet in packets} == {1200}
    assert all(packet[-300:-4] == bytes(296) for packet in packets)


def test_a_repeated_initiation_differs_in_number_and_checksum_only() -> None:
    """SPEC 3-3: and so it proves no more than the first. SPEC 3-4: its number is its own."""
    pair = Pair(left=Configuration(handshake_timeout=10 * SECOND), to_right=lambda datagram, rng: [])
    pair.connect()
    pair.run_for(9 * SECOND)
    packets = [datagram for _, _, datagram in pair.wire]
    assert len(packets) > 3
    numbers = [int.from_bytes(packet[38:42], "big") for packet in packets]
    assert numbers == list(range(len(packets)))
    assert len({packet[:38] + packet[42:-4] for packet in packets}) == 1


def test_a_responder_is_silent_until_it_hears_data_and_an_initiator_speaks_at_once() -> None:
    """SPEC 3.1-3."""
    pair = Pair(
        to_right=lambda datagram, rng: [DELAY] if datagram[0] == INITIATION else [], to_left=perfect(DELAY)
    )
    pair.connect()
    pair.run_for(SECOND)
    assert {d[0] for _, from_left, d in pair.wire if not from_left} == {RESPONSE}
    established = ConnectionEstablished(pair.right.identity.address, initiator=True)
    assert pair.left_events == [established]
    first = seen(pair)[0]
    assert (first.time, first.frames[0]) == (2 * DELAY, Ping())
    assert not pair.right_events


# numbers, keys and tags


@every_profile
def test_a_packet_number_is_used_once_and_they_rise_by_one(profile: str) -> None:
    """SPEC 4-1, SPEC 3-4: whatever is retransmitted, in both directions."""
    pair = Pair(left=Configuration(integrity=profile), to_right=hostile(loss=0.2, reorder=0.2), seed=3)
    pair.established()
    transfer(pair, Random(1).randbytes(100_000))
    assert pair.connection.statistics().retransmitted_packets > 5
    for side in (True, False):
        numbers = [packet.number for packet in seen(pair) if packet.from_left is side]
        assert numbers == list(range(len(numbers)))


def test_each_direction_has_its_key_and_the_key_log_says_which() -> None:
    """SPEC 3.1-2, SPEC 11-1: the first key is the initiator's."""
    pair = Pair()
    pair.established()
    transfer(pair, b"secret")
    _, left_id, right_id, profile, forward, back = pair.key_log[0].split()
    assert profile == "aead"
    assert len(bytes.fromhex(forward)) == len(bytes.fromhex(back)) == 32
    assert pair.connection.connection_id.hex() == left_id
    assert pair.accepted is not None
    assert pair.accepted.connection_id.hex() == right_id
    assert {packet.from_left for packet in seen(pair)} == {True, False}
    for _, from_left, datagram in pair.wire:
        if datagram[0] == DATA:
            number = int.from_bytes(datagram[9:13], "big")
            with pytest.raises(TagError):
                opener(profile, bytes.fromhex(back if from_left else forward))(datagram, number)


def test_the_key_log_gives_the_windows_of_both_ends() -> None:
    """SPEC 11-2: the initiator's first."""
    pair = Pair(
        left=Configuration(connection_window=40_000, stream_window=30_000),
        right=Configuration(connection_window=20_000, stream_window=10_000),
    )
    pair.established()
    keys, windows, parameters = (line.split() for line in pair.key_log)
    assert windows == ["STRAIT_WINDOWS", *keys[1:3], "40000", "30000", "20000", "10000"]
    # SPEC 11-5: all that was announced, as it was encoded.
    assert parameters[:3] == ["STRAIT_PARAMETERS", *keys[1:3]]
    told = [parse_parameters(bytes.fromhex(words)) for words in parameters[3:]]
    assert [(one.initial_max_data, one.initial_max_stream_data) for one in told] == [
        (40_000, 30_000),
        (20_000, 10_000),
    ]


@every_profile
def test_a_packet_with_a_wrong_tag_is_dropped_and_counted(profile: str) -> None:
    """SPEC 4.1-4: any one bit, of header, payload or tag."""
    pair = Pair(left=Configuration(integrity=profile))
    pair.established()
    forger = Forger(pair)
    packet = forger.packet(Stream(0, 0, b"data").encode())
    assert pair.accepted is not None
    before = pair.accepted.statistics()
    bits = [bit for bit in range(8 * len(packet)) if bit >= 8 * 9]  # behind type and connection ID
    for bit in bits:
        damaged = bytearray(packet)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        pair.inject(bytes(damaged), to_right=True)
    after = pair.accepted.statistics()
    assert after.integrity_failures == before.integrity_failures + len(bits)
    assert after.packets_received == before.packets_received
    assert not pair.right_data
    pair.inject(packet, to_right=True)
    assert pair.right_data[0] == b"data"


# what is sent, and again


@every_mode
def test_a_retransmission_carries_the_same_bytes_at_the_same_offsets(arq: str) -> None:
    """SPEC 6-3, 8-1: under a new number, cut as it may be."""
    pair = Pair(left=Configuration(arq=arq), to_right=hostile(loss=0.2), seed=4)
    pair.established()
    data = Random(2).randbytes(40_000)
    stream_id = transfer(pair, data)
    count = 0
    for _, frame in streams(seen(pair), from_left=True):
        assert frame.stream_id == stream_id
        assert bytes(frame.data) == data[frame.offset : frame.offset + len(frame.data)]
        assert not frame.fin or frame.offset + len(frame.data) == len(data)
        count += len(frame.data)
    assert count > len(data)


def test_a_ping_that_is_lost_is_not_repeated() -> None:
    """SPEC 8-1: nor is an ACK; what carried credit is."""
    pair = Pair(to_right=losing(1), to_left=perfect(DELAY))  # INITIATION passes, the PING behind it is lost
    pair.connect()
    pair.run_until(lambda: bool(pair.left_events))
    stream_id = pair.connection.open_stream()
    pair.connection.write(stream_id, bytes(9000), end=True)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    assert pair.connection.statistics().packets_lost == 1
    assert sum(frame == Ping() for packet in seen(pair) for frame in packet.frames) == 1


def test_credit_that_is_lost_goes_again_and_larger_credit_takes_its_place() -> None:
    """SPEC 8-1, 5-5: the same kind of frame is never sent with an older value."""
    window = Configuration(stream_window=20_000, connection_window=20_000)
    pair = Pair(right=window, to_left=hostile(loss=0.3), seed=5)
    pair.established()
    transfer(pair, bytes(200_000))
    for kind in (MaxData, MaxStreamData):
        sent = [
            frame.maximum
            for packet in seen(pair)
            if not packet.from_left
            for frame in packet.frames
            if isinstance(frame, kind)
        ]
        assert sent == sorted(sent)
        assert len(sent) > 10


def test_control_frames_go_before_stream_data() -> None:
    """SPEC 5-5."""
    pair = Pair()
    connection = pair.established()
    pair.run_for(SECOND)
    begin = len(pair.wire)
    connection.write(connection.open_stream(), bytes(50_000))
    connection.stop_sending(0, 7)
    pair.drain()
    first = seen(pair, begin)[0]
    kinds = [type(frame).__name__ for frame in first.frames]
    assert kinds[0] == "StopSending"
    assert kinds.index("StopSending") < kinds.index("Stream")


@every_mode
def test_nothing_is_sent_outside_both_windows(arq: str) -> None:
    """SPEC 6.1-1, 6-2: R as the packets say that had arrived by then, S as congestion control has it."""
    window = Configuration(stream_window=9000, connection_window=20_000, max_ack_delay=0)
    arrived: list[tuple[int, bytes]] = []
    pair = Pair(left=Configuration(arq=arq), right=window, seed=6, read=False)

    def back(datagram: bytearray, rng: Random) -> list[int]:
        if rng.random() < 0.2:
            return []
        delay = DELAY + rng.randrange(DELAY)
        arrived.append((pair.now + delay, bytes(datagram)))
        return [delay]

    pair.to_left, pair.to_right = back, hostile(loss=0.1)
    pair.established()
    ids = [pair.connection.open_stream() for _ in range(3)]
    for stream_id in ids:
        pair.connection.write(stream_id, bytes(60_000), end=True)
    pair.drain()
    assert pair.accepted is not None
    while any(StreamAcknowledged(stream_id) not in pair.left_events for stream_id in ids):
        before = pair.connection.statistics()
        assert pair.step()
        after = pair.connection.statistics()
        # Beyond it go probes alone (SPEC 8-2), and what was in flight when it became smaller.
        rose = after.bytes_in_flight > before.bytes_in_flight
        if rose and after.probe_timeouts == before.probe_timeouts:
            assert after.bytes_in_flight <= after.congestion_window
        for stream_id in ids:
            if pair.rng.random() < 0.3 and stream_id in pair.accepted.streams.receivers:
                pair.accepted.read(stream_id)
        pair.drain()
    _check_credit(pair, arrived, dict.fromkeys(ids, 9000), 20_000)


def _check_credit(
    pair: Pair, arrived: list[tuple[int, bytes]], streams_maximum: dict[int, int], maximum: int
) -> None:
    """Every STREAM frame lies within the credit that had arrived when it was sent."""
    packets = {datagram: packet for packet, datagram in zip(seen(pair), _data(pair), strict=True)}
    arrived.sort()
    highest = dict.fromkeys(streams_maximum, 0)
    for packet, frame in streams(seen(pair), from_left=True):
        while arrived and arrived[0][0] <= packet.time:
            told = packets.get(arrived.pop(0)[1])
            for credit in told.frames if told is not None else ():
                if isinstance(credit, MaxData):
                    maximum = max(maximum, credit.maximum)
                elif isinstance(credit, MaxStreamData):
                    known = streams_maximum[credit.stream_id]
                    streams_maximum[credit.stream_id] = max(known, credit.maximum)
        end = frame.offset + len(frame.data)
        assert end <= streams_maximum[frame.stream_id]
        highest[frame.stream_id] = max(highest[frame.stream_id], end)
        assert sum(highest.values()) <= maximum
    assert set(highest.values()) == {60_000}


def _data(pair: Pair) -> list[bytes]:
    return [datagram for _, _, datagram in pair.wire if datagram[0] == DATA]


def test_probes_go_beyond_the_congestion_window_ever_more_rarely_up_to_three_seconds() -> None:
    """SPEC 8-2."""
    pair = Pair(left=Configuration(idle_timeout=0), right=Configuration(idle_timeout=0))
    connection = pair.established()
    pair.run_for(SECOND)
    pair.to_right = lambda datagram, rng: []
    connection.write(connection.open_stream(), bytes(100_000))
    pair.drain()
    pair.run_for(SECOND // 1000)
    begin = len(pair.wire)
    assert connection.statistics().bytes_in_flight + 1452 > connection.statistics().congestion_window
    pair.run_for(60 * SECOND)
    probes = [packet for packet in seen(pair, begin) if packet.from_left]
    instants = sorted({packet.time for packet in probes})
    gaps = [later - earlier for earlier, later in pairwise(instants)]
    assert all(later >= earlier for earlier, later in pairwise(gaps))
    assert gaps[1] == 2 * gaps[0]
    assert gaps[-1] == 3 * SECOND
    assert all(1 <= sum(p.time == instant for p in probes) <= 2 for instant in instants)


# ending


def test_what_comes_behind_close_in_its_burst_is_not_read() -> None:
    """SPEC 5-4."""
    pair = Pair()
    pair.established()
    pair.run_for(SECOND)
    forger = Forger(pair)
    close = Close(7, "").encode()
    packets = [forger.packet(close), forger.packet(Stream(0, 0, b"").encode()[: len(close)])]
    assert len(packets[0]) == len(packets[1])
    before = len(pair.right_events)
    pair.right.receive(Burst(LEFT, memoryview(bytearray(b"".join(packets))), len(packets[0])), now=pair.now)
    pair.drain()
    assert [type(event).__name__ for event in pair.right_events[before:]] == ["ConnectionClosed"]


def test_a_closed_end_answers_once_for_each_doubling_and_forgets_after_three_probe_timeouts() -> None:
    """SPEC 9-1."""
    pair = Pair()
    pair.established()
    pair.run_for(SECOND)
    assert pair.accepted is not None
    timeout = pair.accepted.recovery.probe_timeout
    pair.to_left = pair.to_right = lambda datagram, rng: []
    forger = Forger(pair)
    begin = len(pair.wire)
    pair.accepted.close(0x155, "done", now=pair.now)
    pair.drain()
    for _ in range(64):
        forger.send(Ping())
    answers = forger.answers(begin)
    assert answers == [Close(0x155, "done")] * 8  # at once, and for 1, 2, 4, 8, 16, 32 and 64 bursts
    pair.run_for(3 * timeout - 1)
    assert pair.right.connections
    pair.run_for(1)
    assert pair.right.connections == ()


def test_who_hears_close_says_nothing_more_and_forgets_after_three_probe_timeouts() -> None:
    """SPEC 9-1."""
    pair = Pair()
    pair.established()
    pair.run_for(SECOND)
    assert pair.accepted is not None
    timeout = pair.accepted.recovery.probe_timeout
    pair.to_left = pair.to_right = lambda datagram, rng: []
    forger = Forger(pair)
    pair.accepted.write(pair.accepted.open_stream(), bytes(100_000))
    pair.drain()
    forger.send(Close(1, ""))
    begin = len(pair.wire)
    forger.send(Ping())
    pair.run_for(3 * timeout - 1)
    assert pair.right.connections
    pair.run_for(1)
    assert pair.right.connections == ()
    assert len(pair.wire) == begin


def test_close_waits_for_nothing() -> None:
    """SPEC 9-3: neither for data that is to be sent nor for what is to be acknowledged."""
    pair = Pair()
    connection = pair.established()
    pair.run_for(SECOND)
    connection.write(connection.open_stream(), bytes(1_000_000), end=True)
    pair.drain()
    begin = len(pair.wire)
    connection.close(0x101, now=pair.now)
    pair.drain()
    assert [packet.frames for packet in seen(pair, begin)] == [(Close(0x101, ""),)]
    pair.run_for(SECOND)
    assert not [
        frame for packet in seen(pair, begin + 1) for frame in packet.frames if type(frame) is not Ack
    ]
