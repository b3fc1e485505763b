"""The bulk path writes what the frame classes would, and takes in what the general path would."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.protocol.arena import Arena
from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.datagrams import Burst
from node.protocol.endpoint import Endpoint
from node.protocol.events import StreamAcknowledged, StreamDataReceived
from node.protocol.identity import Identity
from node.protocol.ranges import RangeSet
from node.protocol.statistics import Statistics
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.crc32c import crc32c
from node.protocol.wire.frames import Ack, Frame, Padding, Stream, parse_frames
from tests.support.forge import HEADER_BYTES, Forger
from tests.support.pair import LEFT, Pair, hostile

SEED = 21
TAG_BYTES = 4


def configuration(arq: str) -> Configuration:
    return Configuration(integrity="crc32c", arq=arq, idle_timeout=0)


@cache
def recorded(arq: str, *, loss: float) -> tuple[bytes, ...]:
    """Everything the left end sent in a real transfer of two large streams and some small ones."""
    pair = Pair(left=configuration(arq), right=configuration(arq), to_right=hostile(loss=loss), seed=SEED)
    pair.established()
    streams = [pair.connection.open_stream(unidirectional=True) for _ in range(4)]
    for stream_id, size in zip(streams, (30_000, 45_678, 17, 0), strict=True):
        pair.connection.write(stream_id, Random(stream_id).randbytes(size), end=True)
    pair.drain()
    pair.run_until(lambda: all(StreamAcknowledged(s) in pair.left_events for s in streams))
    return tuple(without_acks(datagram) for _, from_left, datagram in pair.wire if from_left)


def without_acks(datagram: bytes) -> bytes:
    """PADDING in place of ACKs: who takes a recording has not sent what they acknowledge."""
    if datagram[0] != 0x41 or not any(isinstance(frame, Ack) for frame in frames_of(datagram)):
        return datagram
    frames = [Padding(len(f.encode())) if isinstance(f, Ack) else f for f in frames_of(datagram)]
    clear = datagram[:HEADER_BYTES] + b"".join(frame.encode() for frame in frames)
    return clear + crc32c(clear, bytes(4)).to_bytes(4, "big")


def frames_of(datagram: bytes) -> list[Frame]:
    return list(parse_frames(memoryview(datagram)[HEADER_BYTES:-TAG_BYTES]))


def test_bulk_packets_are_one_stream_frame_but_for_the_length_of_integers() -> None:
    bulk = 0
    for datagram in recorded("selective-repeat", loss=0.1):
        payload = datagram[HEADER_BYTES:-TAG_BYTES]
        if datagram[0] != 0x41 or payload[0] & 0xFE != 0x08:
            continue
        [frame] = frames_of(datagram)
        assert isinstance(frame, Stream)
        bulk += 1
        number = (frame.stream_id | 0x8000_0000).to_bytes(4, "big")
        offset = (frame.offset | 0xC000_0000_0000_0000).to_bytes(8, "big")
        kind = frame.encode()[:1]
        assert payload == kind + number + offset + bytes(frame.data)
        assert frame.data == Random(frame.stream_id).randbytes(45_678)[frame.offset :][: len(frame.data)]
    assert bulk > 40


@pytest.mark.parametrize("profile", ["aead", "crc32c", "xor"])
def test_every_packet_opens_with_the_keys_of_the_log(profile: str) -> None:
    pair = Pair(left=Configuration(integrity=profile), seed=SEED)
    pair.established()
    assert pair.accepted is not None
    stream_id = pair.accepted.open_stream()
    data = Random(1).randbytes(30_000)
    pair.accepted.write(stream_id, data, end=True)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.right_events)
    pieces = [frame for frame in Forger(pair).answers() if isinstance(frame, Stream)]
    assert b"".join(bytes(piece.data) for piece in pieces) == data
    assert [piece.fin for piece in pieces] == [False] * (len(pieces) - 1) + [True]


class Receiver:
    """A right end like the one of the recording, which so gives itself the same connection ID."""

    def __init__(self, arq: str, initiation: bytes, *, in_arena: bool = False) -> None:
        self.arena = Arena() if in_arena else None
        identity = Identity(Random(f"{SEED}/right").randbytes(32))
        self.endpoint = Endpoint(identity, configuration(arq), rng=Random(f"{SEED}/r"))
        self.now = 0
        self.connection: Connection | None = None
        self.data: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        #: All that was ever acknowledged: how much an acknowledgement repeats depends on how many there were.
        self.acknowledged = RangeSet()
        self.take([initiation])

    def take(self, burst: list[bytes]) -> None:
        """Receive a burst and drain everything, without time going on."""
        datagrams = b"".join(burst)
        buffer = self.arena.view[: len(datagrams)] if self.arena else memoryview(bytearray(datagrams))
        buffer[:] = datagrams
        self.endpoint.receive(Burst(LEFT, buffer, len(burst[0]), arena=self.arena), now=self.now)
        self.drain()

    def drain(self) -> None:
        while (transmit := self.endpoint.transmit(now=self.now)) is not None:
            datagram = bytes(transmit.buffer)
            if datagram[0] == 0x41:
                for frame in frames_of(datagram):
                    if isinstance(frame, Ack):
                        for start, end in frame.ranges:
                            self.acknowledged.add(start, end)
        while (found := self.endpoint.next_event()) is not None:
            self.connection, event = found
            if isinstance(event, StreamDataReceived):
                self.data.setdefault(event.stream_id, bytearray()).extend(
                    self.connection.read(event.stream_id)
                )
                if event.ended:
                    self.ended.add(event.stream_id)

    def outcome(self) -> tuple[object, ...]:
        """All that must not depend on how the datagrams were cut into bursts."""
        self.now += SECOND
        self.endpoint.handle_timeout(now=self.now)
        self.drain()
        return self.data, self.ended, tuple(self.acknowledged)

    def statistics(self) -> Statistics:
        assert self.connection is not None
        return self.connection.statistics()


def in_general_form(datagram: bytes) -> bytes:
    """The same frames with lengths and short integers: nothing that the bulk path would take."""
    payload = b"".join(
        Stream(f.stream_id, f.offset, f.data, f.fin).encode() if isinstance(f, Stream) else f.encode()
        for f in frames_of(datagram)
    )
    clear = datagram[:HEADER_BYTES] + payload
    return clear + crc32c(clear, bytes(4)).to_bytes(4, "big")


def disturbed(datagrams: list[bytes], rng: Random, *, loss: float, swaps: int, copies: int) -> list[bytes]:
    """Some are lost, some come late by a few places, some come twice."""
    kept = [datagram for datagram in datagrams if rng.random() >= loss]
    for _ in range(swaps):
        if len(kept) > 1:
            place = rng.randrange(len(kept))
            kept.insert(min(len(kept), place + rng.randrange(1, 6)), kept.pop(place))
    for _ in range(copies):
        if kept:
            kept.insert(rng.randrange(len(kept) + 1), rng.choice(kept))
    return kept


def bursts(datagrams: list[bytes], rng: Random) -> list[list[bytes]]:
    """Cut into bursts as UDP GRO may: equal sizes, the last one maybe shorter."""
    found: list[list[bytes]] = [[datagrams[0]]]
    for before, datagram in pairwise(datagrams):
        size = len(found[-1][0])
        fits = len(before) == size and len(datagram) <= size and len(found[-1]) < 64
        if fits and rng.random() < 0.9:
            found[-1].append(datagram)
        else:
            found.append([datagram])
    return found


@settings(max_examples=60)
@given(
    arq=st.sampled_from(["selective-repeat", "go-back-n", "stop-and-wait"]),
    recording_loss=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 1 << 32),
    loss=st.sampled_from([0.0, 0.02, 0.2]),
    swaps=st.integers(0, 30),
    copies=st.integers(0, 10),
)
def test_bursts_alone_and_in_general_form_come_to_the_same(
    arq: str, recording_loss: float, seed: int, loss: float, swaps: int, copies: int
) -> None:
    """SPEC 1-1."""
    rng = Random(seed)
    initiation, first, *rest = (
        datagram for datagram in recorded(arq, loss=recording_loss) if datagram[0] in (0x41, 0xC1)
    )
    rest = [datagram for datagram in rest if datagram[0] == 0x41]
    order = disturbed(rest, rng, loss=loss, swaps=swaps, copies=copies)
    if first[0] == 0x41:
        order.insert(0, first)
    if not order:
        return
    alone, together, general = (Receiver(arq, initiation) for _ in range(3))
    in_arena = Receiver(arq, initiation, in_arena=True)
    for datagram in order:
        alone.take([datagram])
        general.take([in_general_form(datagram)])
    for burst in bursts(order, rng):
        together.take(burst)
        in_arena.take(burst)
    expected = general.outcome()
    assert alone.outcome() == expected
    assert together.outcome() == expected
    assert in_arena.outcome() == expected
    for name in ("packets_received", "duplicate_packets", "malformed_packets", "stream_bytes_delivered"):
        values = {getattr(receiver.statistics(), name) for receiver in (alone, together, general, in_arena)}
        assert len(values) == 1, (name, values)
    sizes = {receiver.statistics().bytes_received for receiver in (alone, together, in_arena)}
    assert len(sizes) == 1


def test_a_packet_that_is_late_does_not_shift_the_numbers_of_its_burst() -> None:
    """What a late bulk packet is followed by must be acknowledged under its own number."""
    pair = Pair(left=configuration("selective-repeat"), to_left=lambda datagram, rng: [5 * MILLISECOND])
    pair.established()
    pair.run_for(SECOND)
    pair.to_left = lambda datagram, rng: []
    forger = Forger(pair)
    base = forger.number
    stream_id, offset = 0x8000_0002, 0xC000_0000_0000_0000

    def bulk(at: int, data: bytes) -> bytes:
        head = b"\x08" + stream_id.to_bytes(4, "big") + (offset | at).to_bytes(8, "big")
        return head + data

    pair.inject(forger.seal(bulk(0, b"a" * 50), base), to_right=True)
    pair.inject(forger.seal(b"\x01" * 63, base + 9), to_right=True)
    burst = forger.seal(bulk(50, b"b" * 50), base + 1) + forger.seal(b"\x01" * 63, base + 2)
    pair.right.receive(Burst(LEFT, memoryview(bytearray(burst)), len(burst) // 2), now=pair.now)
    pair.drain()
    [last] = [frame for frame in forger.answers() if isinstance(frame, Ack)][-1:]
    assert last.ranges == ((base + 9, base + 10), (0, base + 3))


def test_a_short_last_packet_may_begin_a_bulk_run() -> None:
    """Found by a seed: the packet before it is no bulk data, so the short one is looked at on its own."""
    pair = Pair(left=configuration("selective-repeat"))
    pair.established()
    forger = Forger(pair)
    forger.send(Stream(2, 0, b"a" * 10))
    head = b"\x08" + bytes.fromhex("80000002 c00000000000000a")
    burst = forger.packet(b"\x01" * 60) + forger.packet(head + b"b" * 20)
    pair.right.receive(Burst(LEFT, memoryview(bytearray(burst)), 13 + 60 + TAG_BYTES), now=pair.now)
    pair.drain()
    assert pair.right_data[2] == b"a" * 10 + b"b" * 20
