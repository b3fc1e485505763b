"""Bulk data that comes while earlier data is missing takes the fast path too (SPEC 6-1, 6-6)."""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.arena import Arena
from node.protocol.configuration import Configuration
from node.protocol.datagrams import Burst
from node.protocol.errors import ErrorCode
from node.protocol.streams.receive import MAX_GAPS
from node.protocol.time import SECOND
from node.protocol.wire.frames import Ack, Stream
from tests.support.forge import Forger
from tests.support.pair import LEFT, Pair

SIZE = 100
DATA = Random(3).randbytes(3000 * SIZE)


def attacked(*, left: Configuration | None = None, right: Configuration | None = None) -> tuple[Pair, Forger]:
    pair = Pair(left=left, right=right)
    pair.established()
    pair.to_left = pair.to_right = lambda datagram, rng: []
    return pair, Forger(pair)


def bulk(offset: int, *, stream_id: int = 0) -> bytes:
    """Return a payload as the bulk path writes it: one STREAM frame with integers of fixed length."""
    head = bytes((0x08,)) + (stream_id | 0x8000_0000).to_bytes(4, "big")
    return head + (offset | 0xC000_0000_0000_0000).to_bytes(8, "big") + DATA[offset : offset + SIZE]


def take(pair: Pair, packets: list[bytes]) -> None:
    """Hand packets of one size over as one burst."""
    buffer = memoryview(bytearray(b"".join(packets)))
    pair.right.receive(Burst(LEFT, buffer, len(packets[0])), now=pair.now)
    pair.drain()


@pytest.mark.parametrize("seed", range(20))
def test_bursts_with_holes_filled_in_any_order_give_the_bytes_that_were_sent(seed: int) -> None:
    rng = Random(seed)
    pair, forger = attacked()
    offsets = list(range(0, 400 * SIZE, SIZE))
    missing = [offset for offset in offsets if rng.random() < 0.1]
    there = [offset for offset in offsets if offset not in missing]
    while there:
        count = rng.randrange(1, 40)
        take(pair, [forger.packet(bulk(offset)) for offset in there[:count]])
        del there[:count]
        if missing and rng.random() < 0.3:
            found = missing.pop(rng.randrange(len(missing)))
            forger.send(Stream(0, found, DATA[found : found + SIZE]))
    for offset in missing:
        forger.send(Stream(0, offset, DATA[offset : offset + SIZE]))
    assert pair.right_data[0] == DATA[: 400 * SIZE]


def test_an_empty_frame_far_ahead_does_not_misplace_what_follows_it() -> None:
    """It raises the highest offset without a byte in the buffer."""
    pair, forger = attacked()
    forger.send(Stream(0, 5 * SIZE, b""))
    take(pair, [forger.packet(bulk(offset)) for offset in range(5 * SIZE, 9 * SIZE, SIZE)])
    take(pair, [forger.packet(bulk(offset)) for offset in range(0, 5 * SIZE, SIZE)])
    assert pair.right_data[0] == DATA[: 9 * SIZE]


def test_bulk_data_opens_no_more_gaps_than_other_data() -> None:
    pair, forger = attacked()
    base = forger.number
    for index in range(1, MAX_GAPS + 3):
        take(pair, [forger.packet(bulk(2 * index * SIZE))])
    pair.run_for(1_000_000_000)
    ack = [frame for frame in forger.answers() if isinstance(frame, Ack)][-1]
    assert ack.ranges[0][1] == base + MAX_GAPS


def test_go_back_n_takes_no_bulk_data_behind_a_gap() -> None:
    pair, forger = attacked(left=Configuration(arq="go-back-n"))
    take(pair, [forger.packet(bulk(offset)) for offset in (0, 2 * SIZE, 3 * SIZE)])
    take(pair, [forger.packet(bulk(offset)) for offset in (SIZE, 2 * SIZE)])
    assert pair.right_data[0] == DATA[: 3 * SIZE]


@pytest.mark.parametrize(("window", "fits"), [(10 * SIZE, True), (10 * SIZE - 1, False)])
def test_a_gap_counts_against_the_connections_window(window: int, fits: bool) -> None:
    """SPEC 6-2: the sum of the highest offsets counts, whatever is missing below them."""
    right = Configuration(stream_window=1 << 20, connection_window=max(window, 2400))
    pair, forger = attacked(right=right)
    forger.send(Stream(4, right.connection_window - window - 1, b"x"))
    take(pair, [forger.packet(bulk(offset)) for offset in (8 * SIZE, 9 * SIZE)])
    closed = pair.closed(right=True)
    assert (closed is None) is fits
    assert closed is None or closed.code == ErrorCode.FLOW_CONTROL


class InArena:
    """Hands packets over as the UDP driver does: in an arena, where what follows a gap is stepped to."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._arena = Arena()

    def take(self, packets: list[bytes]) -> None:
        data = b"".join(packets)
        view = self._arena.view[: len(data)]
        view[:] = data
        self.pair.right.receive(Burst(LEFT, view, len(packets[0]), arena=self._arena), now=self.pair.now)
        self.pair.drain()


def newest_ack(pair: Pair, forger: Forger) -> Ack:
    pair.run_for(SECOND)
    return [frame for frame in forger.answers() if isinstance(frame, Ack)][-1]


def test_what_follows_a_lost_packet_is_taken_at_its_own_place() -> None:
    """Numbers are missing where packets were lost: what was in them is another's, or this stream's."""
    pair, forger = attacked()
    base = forger.number
    packets = []
    for place, number in enumerate((0, 1, 3, 4, 7, 8)):
        offset = (0, 1, 3, 4, 5, 6)[place] * SIZE  # what was in 5 and 6 was of no stream
        packets.append(forger.seal(bulk(offset), base + number))
    InArena(pair).take(packets)
    assert pair.right_data[0] == DATA[: 2 * SIZE]
    assert newest_ack(pair, forger).ranges[:3] == (
        (base + 7, base + 9), (base + 3, base + 5), (0, base + 2),
    )  # fmt: skip
    pair.inject(forger.seal(bulk(2 * SIZE), base + 9), to_right=True)
    assert pair.right_data[0] == DATA[: 7 * SIZE]


def test_a_damaged_packet_behind_a_gap_is_dropped_alone() -> None:
    pair, forger = attacked()
    base = forger.number
    packets = [forger.seal(bulk(n * SIZE), base + n) for n in (0, 2, 3)]
    packets[1] = packets[1][:-1] + bytes((packets[1][-1] ^ 1,))
    InArena(pair).take(packets)
    assert pair.accepted is not None
    assert pair.accepted.statistics().integrity_failures == 1
    assert newest_ack(pair, forger).ranges == ((base + 3, base + 4), (0, base + 1))


@pytest.mark.parametrize("other", [Stream(4, 0, b"a" * (SIZE - 2)), Stream(0, 3 * SIZE, b"", fin=True)])
def test_other_frames_behind_a_gap_are_taken_as_ever(other: Stream) -> None:
    pair, forger = attacked()
    base = forger.number
    first = forger.seal(bulk(0), base)
    padded = other.encode().ljust(len(bulk(0)), b"\x00")
    InArena(pair).take([first, forger.seal(padded, base + 2), forger.seal(bulk(SIZE), base + 3)])
    assert pair.right_data[0] == DATA[: 2 * SIZE]
    assert newest_ack(pair, forger).ranges == ((base + 2, base + 4), (0, base + 1))
    if other.stream_id:
        assert pair.right_data[4] == other.data


def test_go_back_n_steps_over_no_gap_of_data() -> None:
    pair, forger = attacked(left=Configuration(arq="go-back-n"))
    base = forger.number
    InArena(pair).take([forger.seal(bulk(n * SIZE), base + n) for n in (0, 2, 3)])
    assert pair.right_data[0] == DATA[:SIZE]
    assert newest_ack(pair, forger).ranges == ((0, base + 1),)


def test_no_more_gaps_are_stepped_over_than_are_kept() -> None:
    pair, forger = attacked()
    base, arena = forger.number, InArena(pair)
    numbers = list(range(1, 2 * MAX_GAPS + 9, 2))
    while numbers:
        arena.take([forger.seal(bulk(number * SIZE), base + number) for number in numbers[:50]])
        del numbers[:50]
    assert newest_ack(pair, forger).ranges[0] == (base + 2 * MAX_GAPS - 1, base + 2 * MAX_GAPS)


@pytest.mark.parametrize(("missing", "fits"), [(22, True), (23, False)])
def test_a_step_counts_against_the_window(missing: int, fits: bool) -> None:
    """SPEC 6-2: 24 packets of 100 bytes fit in the window, with what is missing between them."""
    pair, forger = attacked(right=Configuration(connection_window=2400))
    base = forger.number
    last = missing + 1
    InArena(pair).take([forger.seal(bulk(n * SIZE), base + n) for n in (0, last)])
    closed = pair.closed(right=True)
    assert (closed is None) is fits
    assert closed is None or closed.code == ErrorCode.FLOW_CONTROL
