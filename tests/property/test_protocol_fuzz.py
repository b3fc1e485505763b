"""Whatever passes the integrity check: nothing is raised, nothing spins, nothing piles up (SPEC 1-2, 5-1)."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from node.protocol.configuration import Configuration
from node.protocol.datagrams import Burst
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.fec_frames import FecRecovered, FecRepair
from node.protocol.wire.frames import (
    Ack,
    AckFrequency,
    Close,
    DataBlocked,
    MaxData,
    MaxStreamData,
    MaxStreams,
    Message,
    NewConnectionId,
    NewTicket,
    Padding,
    PathChallenge,
    PathResponse,
    Ping,
    ResetStream,
    RetireConnectionId,
    StopSending,
    Stream,
    StreamDataBlocked,
)
from tests.support.forge import HEADER_BYTES, TAG_BYTES, Forger
from tests.support.pair import LEFT, Pair

MODES = ["selective-repeat", "stop-and-wait", "go-back-n"]
PROFILES = ["aead", "crc32c", "xor"]

numbers = st.one_of(st.integers(0, 40), st.integers(0, 70_000), st.integers(0, (1 << 62) - 1))
eight = st.binary(min_size=8, max_size=8)
#: Where ranges of packets begin: they end below 2^62, or could not be written.
packets = st.one_of(st.integers(0, 40), st.integers(0, 1 << 61))
ids = st.one_of(st.integers(0, 19), st.integers(0, 600), numbers)
offsets = st.one_of(st.integers(0, 300), st.integers(0, 30_000), st.integers(0, 1 << 61))
frames = st.one_of(
    st.builds(Padding),
    st.builds(Ping),
    st.builds(
        lambda low, count, ecn: Ack(((low, low + count),), 1, ecn),
        st.integers(0, 40),
        st.integers(1, 20),
        st.none() | st.tuples(numbers, numbers, numbers),
    ),
    st.builds(ResetStream, ids, numbers, offsets),
    st.builds(StopSending, ids, numbers),
    st.builds(Message, ids, offsets, st.binary(max_size=60), st.booleans()),
    st.builds(Stream, ids, offsets, st.binary(max_size=60), st.booleans()),
    st.builds(MaxData, numbers),
    st.builds(MaxStreamData, ids, numbers),
    st.builds(MaxStreams, numbers, st.booleans()),
    st.builds(AckFrequency, numbers, numbers, numbers),
    st.builds(NewTicket, numbers, st.binary(min_size=32, max_size=32), st.binary(min_size=1, max_size=99)),
    st.builds(DataBlocked, numbers),
    st.builds(lambda low, count: FecRecovered(((low, low + count),)), packets, st.integers(1, 20)),
    st.builds(
        lambda low, count, index, symbol: FecRepair(1, ((low, low + count),), 4, index, symbol),
        packets,
        st.integers(1, 20),
        st.integers(0, 3),
        st.binary(max_size=60),
    ),
    st.builds(StreamDataBlocked, ids, numbers),
    st.builds(NewConnectionId, numbers, st.just(0) | numbers, eight, st.just(bytes(16))),
    st.builds(RetireConnectionId, numbers),
    st.builds(PathChallenge, eight),
    st.builds(PathResponse, eight),
    st.builds(Close, numbers, st.text(max_size=9)),
)
#: Few CLOSE, or most runs would be short ones.
payloads = st.one_of(
    st.lists(frames.filter(lambda frame: not isinstance(frame, Close)), min_size=1, max_size=5).map(
        lambda found: b"".join(frame.encode() for frame in found)
    ),
    st.lists(frames, min_size=1, max_size=5).map(lambda found: b"".join(frame.encode() for frame in found)),
    st.binary(min_size=1, max_size=80),
)


def attacked(arq: str, integrity: str) -> tuple[Pair, Forger]:
    """A right end in the middle of its life, with a forger in the place of the left one."""
    window = Configuration(
        arq=arq, integrity=integrity, stream_window=20_000, connection_window=50_000,
        fec="none" if arq == "stop-and-wait" else "xor",
    )  # fmt: skip
    pair = Pair(left=window, right=window)
    pair.established()
    assert pair.accepted is not None
    pair.connection.write(pair.connection.open_stream(), bytes(3000))
    pair.accepted.write(pair.accepted.open_stream(), bytes(100_000))
    pair.accepted.write(pair.accepted.open_stream(unidirectional=True), b"short", end=True)
    pair.drain()
    pair.run_for(20 * MILLISECOND)
    pair.to_left = pair.to_right = lambda datagram, rng: []
    return pair, Forger(pair)


def goes_on_quietly(pair: Pair) -> None:
    """Time goes on: no more wake-ups than timers can give, and in the end nothing is left."""
    end, wakes = pair.now + 100 * SECOND, 0
    while (following := pair.right.next_timeout()) is not None and following <= end:
        pair.now = max(pair.now, following)
        pair.right.handle_timeout(now=pair.now)
        pair.drain()
        wakes += 1
        assert wakes < 500, "spins"
    assert pair.right.connections == ()
    assert pair.closed(right=True) is not None


@settings(max_examples=150)
@given(
    arq=st.sampled_from(MODES),
    integrity=st.sampled_from(PROFILES),
    sent=st.lists(st.tuples(payloads, st.integers(0, 3)), min_size=1, max_size=25),
)
def test_any_payload_in_any_order_is_taken_or_refused(
    arq: str, integrity: str, sent: list[tuple[bytes, int]]
) -> None:
    pair, forger = attacked(arq, integrity)
    for payload, skipped in sent:
        forger.number += skipped
        pair.inject(forger.packet(payload), to_right=True)
        pair.now += skipped * MILLISECOND
    goes_on_quietly(pair)


@settings(max_examples=100)
@given(
    integrity=st.sampled_from(PROFILES),
    seed=st.integers(0, 1 << 32),
    payload=st.lists(payloads, min_size=2, max_size=12),
)
def test_bursts_of_any_payloads_are_taken_or_refused(integrity: str, seed: int, payload: list[bytes]) -> None:
    """Several connections' packets, junk and set-up packets in one burst of any segment size."""
    rng = Random(seed)
    pair, forger = attacked("selective-repeat", integrity)
    pieces = [forger.packet(one) for one in payload]
    pieces += [rng.randbytes(rng.randrange(1, 60)), pair.wire[0][2], b"\x41" + bytes(8) + b"other"]
    rng.shuffle(pieces)
    size = rng.choice([len(pieces[0]), rng.randrange(1, 200), 1200])
    buffer = memoryview(bytearray(b"".join(piece.ljust(size, b"\x00")[:size] for piece in pieces)))
    pair.right.receive(Burst(LEFT, buffer, size), now=pair.now)
    pair.drain()
    goes_on_quietly(pair)


@settings(max_examples=100)
@given(
    arq=st.sampled_from(MODES),
    seed=st.integers(0, 1 << 32),
    changes=st.integers(1, 8),
)
def test_real_packets_with_changed_payloads_are_taken_or_refused(arq: str, seed: int, changes: int) -> None:
    rng = Random(seed)
    pair, forger = attacked(arq, "crc32c")
    real = [d for _, from_left, d in pair.wire if d[0] == 0x41]
    for datagram in rng.choices(real, k=12):
        payload = bytearray(datagram[HEADER_BYTES : -TAG_BYTES["crc32c"]])
        for _ in range(changes):
            payload[rng.randrange(min(40, len(payload)))] = rng.randrange(256)
        pair.inject(forger.packet(bytes(payload)), to_right=True)
    goes_on_quietly(pair)
