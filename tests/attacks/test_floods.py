"""Much of something: acknowledgements, gaps, junk. What each piece costs does not rise with their number."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest

from node.protocol.configuration import Configuration
from node.protocol.congestion.new_reno import NewReno
from node.protocol.datagrams import Burst, SocketAddress
from node.protocol.errors import ErrorCode
from node.protocol.events import StreamAcknowledged
from node.protocol.recovery.manager import Recovery
from node.protocol.recovery.sent_packets import SentBurst
from node.protocol.streams.receive import MAX_GAPS
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.frames import MAX_ACK_RANGES, Ack, Ping, Stream
from tests.attacks.caps import bytes_of, calls_of, total_drops
from tests.support.forge import Forger
from tests.support.pair import LEFT, Pair

KIB, MIB = 1024, 1024 * 1024


def forged(*, left: Configuration | None = None, right: Configuration | None = None) -> tuple[Pair, Forger]:
    """An established pair whose left end is replaced by a forger; its right end reads nothing."""
    pair = Pair(left=left, right=right, read=False)
    pair.established()
    pair.run_for(SECOND)
    pair.to_left = pair.to_right = lambda datagram, rng: []
    return pair, Forger(pair)


def inject_all(pair: Pair, packets: list[bytes], *, source: SocketAddress = LEFT) -> None:
    """Hand these datagrams to the right end, one after the other."""
    for packet in packets:
        pair.inject(packet, to_right=True, source=source)


def packets_sent(count: int) -> Recovery:
    """Loss recovery of a sender with ``count`` packets out, in bursts of 32."""
    recovery = Recovery(
        NewReno(1200),
        initial_window=12_000,
        on_acked=lambda newly: None,
        on_lost=lambda record, mask: None,
    )
    for first in range(0, count, 32):
        recovery.on_sent(SentBurst(first, 32, first, size=1200, last_size=1200))
    return recovery


def test_huge_ranges_cost_as_little_as_small_ones() -> None:
    """SPEC 5-2. Cap: 400 calls for a range of 2^60 packets, whatever is in it; no memory by range."""
    recovery = packets_sent(64)
    recovery.next_packet_number = 1 << 61
    ack = Ack(((0, 1 << 60),), 0)
    grown, peak = bytes_of(lambda: recovery.on_ack(ack, now=SECOND))
    assert max(grown, peak) < 64 * KIB
    recovery = packets_sent(64)
    recovery.next_packet_number = 1 << 61
    assert calls_of(lambda: recovery.on_ack(ack, now=SECOND)) < 400
    assert recovery.bytes_in_flight == 0


def test_sixty_four_huge_ranges_are_no_worse() -> None:
    """SPEC 5-2. Cap: 2,000 calls."""
    recovery = packets_sent(64)
    recovery.next_packet_number = 1 << 61
    ranges = tuple((index << 50, (index << 50) + (1 << 49)) for index in range(MAX_ACK_RANGES, 0, -1))
    assert calls_of(lambda: recovery.on_ack(Ack((*ranges[:-1], (0, 1 << 49)), 0), now=SECOND)) < 2000


def test_an_acknowledgement_of_what_was_never_sent_closes_at_once() -> None:
    """SPEC 5-2. Cap: 1,500 calls, 64 KiB."""
    pair, forger = forged()
    packet = forger.packet(Ack(((1 << 40, (1 << 40) + 1),), 0).encode())
    calls = 0

    def attack() -> None:
        nonlocal calls
        calls = calls_of(lambda: pair.inject(packet, to_right=True))

    grown, peak = bytes_of(attack)
    assert max(grown, peak) < 64 * KIB
    assert calls < 1500
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.PROTOCOL_VIOLATION


def test_a_flood_of_acknowledgements_costs_the_same_each_and_keeps_nothing() -> None:
    """Cap: 700 calls an ACK of 64 ranges (its parsing), not more the thousandth time; 64 KiB in all."""
    pair, forger = forged()
    assert pair.accepted is not None
    pair.accepted.write(pair.accepted.open_stream(), bytes(200_000))
    pair.drain()
    sent = pair.accepted.statistics().packets_sent
    ranges = tuple((number, number + 1) for number in range(sent - 1, 0, -2))[:MAX_ACK_RANGES]
    flood = [forger.packet(Ack(ranges, 0).encode()) for _ in range(3000)]
    first = calls_of(lambda: inject_all(pair, flood[:500]))
    pair.wire.clear()
    grown, _ = bytes_of(lambda: inject_all(pair, flood[500:2500]))
    last = calls_of(lambda: inject_all(pair, flood[2500:]))
    assert grown < 64 * KIB
    assert last < 500 * 700
    assert last < 1.2 * first


def test_a_reassembly_bomb_takes_no_more_than_the_windows() -> None:
    """A byte at the far end of each stream's window. Cap: twice the connection's window (buffers double)."""
    window = Configuration(stream_window=256 * KIB, connection_window=MIB, max_streams_bidi=1000)
    pair, forger = forged(right=window)

    def attack() -> None:
        for index in range(1000):
            forger.send(Stream(4 * index, 256 * KIB - 1, b"x"))
            if pair.closed(right=True) is not None:
                return

    _, peak = bytes_of(attack)
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.FLOW_CONTROL  # the fifth byte is beyond the connection's window
    assert peak < 2 * MIB + 512 * KIB


def test_gaps_are_bounded_in_each_stream_and_what_opens_more_is_not_kept() -> None:
    """SPEC 6-6. Cap: 256 bytes a gap and 64 KiB; 700 calls a packet, the last as the first."""
    pair, forger = forged()
    packets = [
        forger.packet(Stream(0, 2 * index, b"x").encode()) for index in range(1, 3 * MAX_GAPS)
    ]  # fmt: skip
    first = calls_of(lambda: inject_all(pair, packets[:100]))
    pair.wire.clear()
    grown, _ = bytes_of(lambda: inject_all(pair, packets[100:-100]))
    last = calls_of(lambda: inject_all(pair, packets[-100:]))
    wire = sum(len(datagram) + 120 for _, _, datagram in pair.wire)  # what the test itself keeps
    assert grown - wire < 256 * MAX_GAPS + 64 * KIB
    assert first < 100 * 700
    assert last < 100 * 700
    assert pair.closed(right=True) is None


def test_a_slow_reader_holds_the_window_and_no_more() -> None:
    """The application reads nothing of 50 MB. Cap: twice the connection's window (buffers double)."""
    window = Configuration(stream_window=MIB, connection_window=MIB)
    pair = Pair(right=window, read=False)
    connection = pair.established()
    stream_id = connection.open_stream()
    data = bytes(50 * MIB)

    def attack() -> None:
        connection.write(stream_id, data)
        pair.drain()
        for _ in range(3000):
            if connection.statistics().stream_bytes_acked >= MIB or not pair.step():
                break
            pair.wire.clear()

    _, peak = bytes_of(attack)
    assert connection.statistics().stream_bytes_acked == MIB
    assert peak < 3 * MIB  # and what was on the wire at once


def test_a_slow_sender_keeps_a_stream_and_no_more() -> None:
    """A byte a second, in 10,000 packets. Cap: 600 calls a byte and 64 KiB in all."""
    pair, forger = forged(right=Configuration(idle_timeout=0))
    pair.read = True
    packets = [forger.packet(Stream(0, index, b"x").encode()) for index in range(3000)]

    def drip(some: list[bytes]) -> None:
        for packet in some:
            pair.now += SECOND
            pair.right.handle_timeout(now=pair.now)
            pair.inject(packet, to_right=True)
            pair.wire.clear()
            pair.right_events.clear()

    drip(packets[:500])
    grown, _ = bytes_of(lambda: drip(packets[500:2500]))
    assert grown < 64 * KIB
    assert calls_of(lambda: drip(packets[2500:])) < 500 * 600
    assert len(pair.right_data[0]) == 3000


def test_a_peer_that_opens_all_streams_and_says_nothing_costs_two_kilobytes_each() -> None:
    """SPEC 6-5. Cap: 3 KiB a stream that it may open."""
    pair, forger = forged(right=Configuration(max_streams_bidi=1000))
    grown, _ = bytes_of(lambda: forger.send(Stream(4 * 999, 0, b"")))
    assert grown < 1000 * 3 * KIB
    assert pair.closed(right=True) is None


def test_datagrams_of_no_length_cost_nothing_and_change_nothing() -> None:
    """SPEC 1-3. Cap: 30 calls each, no memory, no counter."""
    pair, _ = forged()
    empty = Burst(LEFT, memoryview(bytearray()), 1)

    def attack() -> None:
        for _ in range(1000):
            pair.right.receive(empty, now=pair.now)

    attack()
    before = total_drops(pair.right)
    grown, _ = bytes_of(attack)
    assert grown < 4 * KIB
    assert calls_of(attack) < 1000 * 30
    assert total_drops(pair.right) == before
    assert pair.right.transmit(now=pair.now) is None


KINDS = [0x00, 0x41, 0x42, 0x45, 0x51, 0xC1, 0xC2, 0xC3, 0xC4, 0xC8, 0xFF]


@pytest.mark.parametrize("kind", KINDS)
def test_random_and_truncated_bytes_are_dropped_for_one_reason_each(kind: int) -> None:
    """SPEC 1-2. Cap: 400 calls each, 64 KiB for all: reasons are few, whatever the bytes."""
    pair, _ = forged()
    assert pair.accepted is not None
    rng = Random(kind)
    junk = []
    for length in range(1, 1500, 5):
        head = bytes((kind,)) + (pair.accepted.connection_id if rng.random() < 0.5 else b"")
        junk.append((head + rng.randbytes(length))[:length])
    wire = len(pair.wire)
    for datagram in junk:
        before = total_drops(pair.right)
        pair.inject(datagram, to_right=True, source=("evil", 666))
        assert total_drops(pair.right) == before + 1, datagram[:20].hex()
    grown, _ = bytes_of(lambda: inject_all(pair, junk, source=("evil", 666)))
    calls = calls_of(lambda: inject_all(pair, junk, source=("evil", 666)))
    assert grown < 64 * KIB
    assert calls < 400 * len(junk)
    # SPEC 4.3-3, 4.3-4: what claims to be of a connection nobody knows may be told so, 64 times a second.
    answers = [datagram for _, _, datagram in pair.wire[wire:]]
    assert len(answers) <= (64 if kind in (0x41, 0x45) else 0)
    assert {len(datagram) for datagram in answers} <= {25}
    assert pair.closed(right=True) is None


def test_every_flipped_bit_of_a_packet_is_one_drop() -> None:
    """SPEC 1-2, 4.1-4: of DATA and of a set-up packet. Cap: 400 calls each."""
    pair, forger = forged()
    data = forger.packet(Stream(0, 0, b"data").encode())
    setup = next(datagram for _, from_left, datagram in pair.wire if from_left and datagram[0] == 0xC1)
    for packet, bits in ((data, range(8 * len(data))), (setup, range(0, 8 * len(setup), 7))):
        flipped = []
        for bit in bits:
            damaged = bytearray(packet)
            damaged[bit >> 3] ^= 1 << (bit & 7)
            flipped.append(bytes(damaged))
        for one in flipped:
            before = total_drops(pair.right)
            pair.inject(one, to_right=True)
            assert total_drops(pair.right) == before + 1
        calls = calls_of(partial(inject_all, pair, flipped))
        assert calls < 400 * len(flipped)
    pair.inject(data, to_right=True)
    assert pair.accepted is not None
    assert pair.accepted.read(0) == b"data"


def test_a_failed_decryption_uses_up_no_number_and_no_nonce() -> None:
    """The true packet of a number is taken after any count of forged ones. Cap: 300 calls, no memory."""
    pair, forger = forged()
    true = forger.packet(Stream(0, 0, b"true").encode())
    forged_packets = [true[:-16] + Random(seed).randbytes(16) for seed in range(1000)]

    def attack() -> None:
        for packet in forged_packets:
            pair.inject(packet, to_right=True)

    attack()
    grown, _ = bytes_of(attack)
    assert grown < 16 * KIB
    assert calls_of(attack) < 1000 * 300
    pair.inject(true, to_right=True)
    assert pair.accepted is not None
    assert pair.accepted.read(0) == b"true"
    # What is sent afterwards has numbers of its own: none comes twice, whatever failed.
    numbers = [
        datagram[9:13] for _, from_left, datagram in pair.wire if not from_left and datagram[0] == 0x41
    ]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("idle", [0, 30 * SECOND])
def test_a_clock_that_jumps_forwards_makes_no_storm(idle: int) -> None:
    """An hour passes between two looks. Cap: 4 packets and 5,000 calls for all that is overdue at once."""
    window = Configuration(idle_timeout=idle)
    pair = Pair(left=window, right=window)
    connection = pair.established()
    pair.run_for(SECOND)
    pair.to_right = pair.to_left = lambda datagram, rng: []
    connection.write(connection.open_stream(), bytes(100_000))
    pair.drain()
    begin = len(pair.wire)
    pair.now += 3600 * SECOND

    def wake() -> None:
        for _ in range(10):
            pair.left.handle_timeout(now=pair.now)
            pair.drain()

    assert calls_of(wake) < 5000
    assert len(pair.wire) - begin <= 4
    if idle:
        closed = pair.closed(right=False)
        assert closed is not None
        assert closed.code == ErrorCode.IDLE_TIMEOUT
    else:
        timeout = pair.left.next_timeout()
        assert timeout is not None
        assert timeout > pair.now


def test_a_transfer_goes_on_after_the_clock_jumped() -> None:
    """What was in flight comes an hour late, and for once the RTT is an hour. Cap: a minute, 600 packets."""
    pair = Pair(left=Configuration(idle_timeout=0), right=Configuration(idle_timeout=0))
    connection = pair.established()
    stream_id = connection.open_stream()
    connection.write(stream_id, bytes(300_000), end=True)
    pair.drain()
    pair.run_for(12 * MILLISECOND)
    pair.now += 3600 * SECOND
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events, limit=7200 * SECOND)
    assert pair.now < 3660 * SECOND
    assert connection.statistics().packets_sent < 600  # 207 would do


def test_an_old_connection_id_after_a_restart_stirs_nothing_up() -> None:
    """The peer knows nothing of it any more. Cap: 1,000 calls a packet, 64 KiB, no answer that is longer."""
    pair = Pair(left=Configuration(idle_timeout=5 * SECOND))
    connection = pair.established()
    pair.run_for(SECOND)
    restarted = Pair(seed=1)
    old = [datagram for _, from_left, datagram in pair.wire if from_left and datagram[0] == 0x41]
    connection.write(connection.open_stream(), bytes(20_000))
    begin = len(pair.wire)
    pair.to_right = lambda datagram, rng: []
    pair.drain()
    old += [datagram for _, _, datagram in pair.wire[begin:]]
    calls = 0

    def attack() -> None:
        nonlocal calls
        calls = calls_of(lambda: inject_all(restarted, old))

    grown, _ = bytes_of(attack)
    assert grown < 64 * KIB
    assert calls < 1000 * len(old)
    assert restarted.right.connections == ()
    assert sum(len(d) for _, from_left, d in restarted.wire if not from_left) < sum(map(len, old))
    pair.run_until(lambda: pair.closed(right=False) is not None)
    assert pair.now < 60 * SECOND


def test_pings_without_end_are_answered_at_most_one_each() -> None:
    """Cap: 600 calls and one packet for each; 64 KiB."""
    pair, forger = forged()
    packets = [forger.packet(Ping().encode()) for _ in range(2000)]
    begin = len(pair.wire)
    for packet in packets[:500]:
        pair.inject(packet, to_right=True)
    assert len(pair.wire) - begin <= 500
    pair.wire.clear()
    grown, _ = bytes_of(lambda: inject_all(pair, packets[500:1500]))
    wire = sum(len(datagram) + 120 for _, _, datagram in pair.wire)  # what the test itself keeps
    assert grown - wire < 64 * KIB
    assert calls_of(lambda: inject_all(pair, packets[1500:])) < 500 * 600
