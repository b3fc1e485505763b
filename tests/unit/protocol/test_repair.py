"""The parts of repair by themselves: what is measured, what a block takes, what a receiver keeps."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from node.protocol.congestion.base import CONTROLLERS, initial_window
from node.protocol.fec.base import FEC_SCHEMES, Shape
from node.protocol.recovery.manager import Recovery
from node.protocol.repair.block import REPAIR_HEAD_BYTES, Block
from node.protocol.repair.blocks import MAX_BLOCK_BYTES, MAX_SPARING_WINDOW, BlockWriter
from node.protocol.repair.loss_meter import NOTICEABLE, LossMeter
from node.protocol.repair.retained import MAX_RETAINED_BURSTS, MAX_RETAINED_BYTES, Retained
from node.protocol.repair.symbols import SymbolLayout
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.fec_frames import FecRepair

HEADER, TAG = 13, 16


def writer(
    *, overhead: float = 1.0, size: int = 1452, scheme: str = "xor", window: int = 0,
    is_hurried: Callable[[], bool] | None = None,
) -> BlockWriter:  # fmt: skip
    """A writer on a path of 100 ms that loses much."""
    recovery = Recovery(
        CONTROLLERS["new-reno"](size, rng=Random(1)),
        initial_window=initial_window(size),
        on_acked=lambda newly: None,
        on_lost=lambda record, mask: None,
    )
    recovery.take_handshake_sample(100 * MILLISECOND, now=0)
    recovery.congestion.congestion_window = window or recovery.congestion.congestion_window
    made = BlockWriter(
        FEC_SCHEMES[scheme](), SymbolLayout(checked=False), recovery, overhead=overhead, least_loss=0.2,
        is_hurried=is_hurried,
    )  # fmt: skip
    made.set_packet_size(size, tag_size=TAG)
    return made


# what is measured


def measured(
    loss: int, *, of: int, rounds: int, meter: LossMeter | None = None, run: int = 1, first: int = 0
) -> LossMeter:
    """A meter after rounds in which ``loss`` packets of ``of`` are lost, in runs."""
    meter = meter or LossMeter()
    for number in range(first, first + of * rounds, of):
        for lost in range(number, number + loss * 2, run * 2):
            meter.on_lost(lost, lost + run)
        meter.on_acked(number + loss * 2, of - loss, next_packet_number=number + of)
    return meter


def test_loss_is_believed_within_three_round_trips_and_forgotten_over_many() -> None:
    """SPEC 12.3-1."""
    assert measured(0, of=100, rounds=5).loss == 0
    assert measured(10, of=100, rounds=3).loss > 0.06
    settled = measured(10, of=100, rounds=40)
    assert settled.loss == pytest.approx(0.1, rel=0.1)
    after = measured(0, of=100, rounds=10, meter=settled, first=4000).loss
    assert 0.01 < after < 0.05
    assert measured(0, of=100, rounds=40, meter=settled, first=5000).noticeable is False


@pytest.mark.parametrize("run", [1, 2, 5])
def test_runs_of_losses_are_told_from_single_ones(run: int) -> None:
    assert measured(10, of=200, rounds=60, run=run).burst == pytest.approx(run, rel=0.1)


def test_a_run_across_two_bursts_is_one() -> None:
    meter = LossMeter()
    for number in range(0, 10_000, 100):
        meter.on_lost(number, number + 2)
        meter.on_lost(number + 2, number + 4)
    assert meter.burst == pytest.approx(4, rel=0.1)


def test_few_packets_say_nothing_yet() -> None:
    meter = LossMeter()
    meter.on_lost(0, 1)
    meter.on_acked(1, 30, next_packet_number=40)
    assert meter.loss == 0
    meter.on_acked(31, 1, next_packet_number=40)
    assert meter.loss == pytest.approx(1 / 64)
    assert meter.loss > NOTICEABLE


# what a block takes


@pytest.mark.parametrize("start", [0, (1 << 62) - 2000])
def test_no_block_makes_a_longer_head_than_the_room_left_for_it(start: int) -> None:
    """SPEC 12.1-6: whatever lies between the protected packets, a repair packet is no longer than full."""
    rng = Random(7)
    for _ in range(200):
        made, number = writer(), start
        for _ in range(200):
            made.add(number, bytes(rng.randrange(1, 1381)), now=0)
            number += rng.choice([1, 1, 1, 1, 2, 3, 60, 64, 65, 66, 300]) if number < start + 1500 else 1
        made.flush()
        for block in made.pending:
            assert block.symbols is not None
            assert len(block.ranges) <= 8
            assert block.packets <= 128
            frame = FecRepair(1, tuple(block.ranges), len(block.symbols), 31, b"")
            assert len(frame.encode()) <= REPAIR_HEAD_BYTES
            assert HEADER + len(frame.encode()) + block.width + TAG <= 1452


@pytest.mark.parametrize("size", [1200, 9000, 65_507])
def test_symbols_of_a_block_take_bounded_memory(size: int) -> None:
    """SPEC 12.1-2: with the largest datagrams a block has few packets."""
    made = writer(size=size)
    protected = made.set_packet_size(size, tag_size=TAG)
    for number in range(300):
        made.add(number, bytes(protected - HEADER - TAG), now=0)
    made.flush()
    assert len(made.pending) >= 2
    assert all(block.packets * block.width <= MAX_BLOCK_BYTES for block in made.pending)


def test_repair_too_large_for_a_path_that_shrank_is_not_sent() -> None:
    """SPEC 12.1-6: the block that is open is closed, and blocks of the new size begin."""
    made = writer(size=4000)
    made.add(0, bytes(100), now=0)
    made.flush()
    for number in range(1, 30):
        made.add(number, bytes(3000), now=0)
    assert made.set_packet_size(1200, tag_size=TAG) == 1200 - REPAIR_HEAD_BYTES - 2
    assert [block.ranges for block in made.pending] == [[(0, 1)]]
    for number in range(30, 60):
        made.add(number, bytes(1100), now=0)
    made.flush()
    assert len(made.pending) > 1
    assert made.pending[1].ranges[0][0] >= 30


def test_repair_waits_until_it_is_earned_and_goes_as_soon_as_it_is() -> None:
    """SPEC 12.3-2, 12.3-4: a quarter of a repair packet for each protected one; the first is free."""
    made = writer(overhead=0.25)
    made.add(0, b"first", now=0)
    assert made.on_idle()
    made.on_repairs_sent(1, now=0)
    deadline = 50 * MILLISECOND
    for number in range(1, 3):
        made.add(number, b"more", now=SECOND)
        assert not made.on_idle()
    assert made.flush_at == SECOND + 2 * deadline  # nothing is earned: a round trip at the most
    made.add(3, b"more", now=SECOND + deadline)  # earned, and half a round trip is over
    assert [block.ranges for block in made.pending] == [[(1, 4)]]


def test_a_block_without_repair_is_no_reason_to_wait() -> None:
    """SPEC 12.5-2."""
    made = writer(overhead=0.01)
    made.add(0, b"with the first repair", now=0)
    made.flush()
    made.add(5, b"without", now=0)
    assert made.block_of(0) is made.pending[0]
    assert made.block_of(5) is None
    assert made.block_of(3) is None
    assert made.flush_at is None


# what bulk data gets


def bulk(**settings: object) -> BlockWriter:
    """A writer of bulk data, at a loss of one in ten, whose blocks have a hundred packets."""
    made = writer(**{"scheme": "reed-solomon", "window": 300_000, "is_hurried": lambda: False, **settings})  # type: ignore[arg-type]
    made.meter.loss = 0.1
    return made


def whole_blocks(made: BlockWriter, count: int, *, idle_after: int = -1) -> list[Block]:
    """Return blocks that closed when they were full."""
    found: list[Block] = []
    number = 0
    while len(found) < count:
        made.add(number, bytes(1000), now=0)
        if number == idle_after:
            made.on_idle()
        number += 1
        while made.pending:
            found.append(made.pending.popleft())
    return found


def test_bulk_data_gets_repair_for_what_is_lost_on_average_and_the_rest_is_kept() -> None:
    """SPEC 12.3-5: at one loss in ten a ninth of a repair packet for each, over many blocks."""
    blocks = whole_blocks(bulk(), 20)
    packets = sum(block.packets for block in blocks)
    assert sum(block.released for block in blocks) == pytest.approx(packets / 9, abs=1)
    for block in blocks:
        assert block.symbols is not None
        assert len(block.symbols) == block.shape.repairs > block.released


@pytest.mark.parametrize(
    "settings",
    [{"is_hurried": lambda: True}, {"is_hurried": None}, {"window": MAX_SPARING_WINDOW + 1}],
    ids=["messages", "another mode", "window"],
)
def test_data_that_must_not_wait_gets_all_its_repair_at_once(settings: dict[str, object]) -> None:
    """SPEC 12.3-5"""
    for block in whole_blocks(bulk(**settings), 3):
        assert block.symbols is not None
        assert block.released == len(block.symbols) == block.shape.repairs
    assert whole_blocks(bulk(window=MAX_SPARING_WINDOW), 1)[0].released < block.released


def test_a_block_that_saw_an_idle_sender_gets_all_its_repair_at_once() -> None:
    """SPEC 12.3-5"""
    made = bulk(overhead=0.4)
    first = whole_blocks(made, 1, idle_after=1)[0]
    assert first.symbols is not None
    assert first.released == len(first.symbols)


def test_xor_keeps_no_symbols_back() -> None:
    """SPEC 12.3-5: of its symbols a certain one mends a certain loss."""
    blocks = whole_blocks(bulk(scheme="xor"), 8)
    assert sum(block.released for block in blocks) <= sum(block.packets for block in blocks) / 9 + 1
    for block in blocks:
        assert block.symbols is not None
        assert block.released == len(block.symbols)


def closed_block(scheme: str, *, total: int, released: int) -> Block:
    """A block of packets 10 to 19 and 30 to 39 whose repair symbols have partly gone."""
    kind = FEC_SCHEMES[scheme]()
    block = Block(10, Shape(20, total), kind.encoder(total, 4), flush_at=0, drop_at=0)
    for first in (10, 30):
        block.add(first, np.ones((10, 4), dtype=np.uint8))
    block.symbols, block.released = block.encoder.repairs(total), released
    return block


def test_what_a_block_lacks_is_what_was_lost_less_the_repair_that_was_not() -> None:
    """SPEC 12.5-2: any symbol of reed-solomon mends any loss."""
    scheme, block = FEC_SCHEMES["reed-solomon"](), closed_block("reed-solomon", total=5, released=2)
    assert block.more_needed(scheme) == 0
    for number, more in ((10, 0), (39, 0), (19, 1), (19, 1), (30, 2), (31, 3)):
        block.on_packet_lost(number)
        assert block.more_needed(scheme) == more
    assert block.lost == [0, 9, 10, 11, 19]
    block.on_repair_lost(1)
    block.on_repair_lost(1)
    assert block.more_needed(scheme) is None  # five lost, one there, and three more


def test_xor_is_given_up_where_two_losses_share_a_symbol() -> None:
    """SPEC 12.5-2"""
    scheme, block = FEC_SCHEMES["xor"](), closed_block("xor", total=4, released=4)
    block.on_packet_lost(10)
    block.on_packet_lost(11)
    assert block.more_needed(scheme) == 0
    block.on_repair_lost(2)
    assert block.more_needed(scheme) == 0  # that of other packets
    block.on_packet_lost(14)  # four behind the first
    assert block.more_needed(scheme) is None


# what a receiver keeps


def test_packets_come_back_as_their_symbols() -> None:
    """SPEC 12.1-4, 12.4-1: whole bursts, a shorter last packet, and damaged ones between."""
    kept, layout = Retained(tag_size=TAG), SymbolLayout(checked=False)
    payloads = {10 + n: bytes([n]) * (100 if n != 5 else 60) for n in range(6)}
    burst = b"".join(bytes(HEADER) + payload + bytes(TAG) for payload in payloads.values())
    stride = HEADER + 100 + TAG
    kept.note(10, 0, stride)
    kept.note_following(2, 3 * stride)  # 11, 12
    kept.note(14, 4 * stride, 5 * stride)  # the place of 13 was damaged
    kept.note_following(1, len(burst))  # 15, shorter
    assert kept.keep(memoryview(burst), stride) == [(10, 13), (14, 16)]
    assert list(kept.numbers) == [(10, 13), (14, 16)]
    rows = np.zeros((6, 102), dtype=np.uint8)
    assert kept.fill(rows, ((10, 16),), layout)
    for row, number in enumerate(range(10, 16)):
        assert layout.payload(number, rows[row]) == (payloads[number] if number != 13 else None)
    assert not kept.fill(np.zeros((6, 101), dtype=np.uint8), ((10, 16),), layout)


@pytest.mark.parametrize("size", [50, 1452, 9000])
def test_what_is_kept_is_bounded_in_bytes_and_in_bursts(size: int) -> None:
    """SPEC 12.4-1."""
    kept = Retained(tag_size=TAG)
    for number in range(5000):
        kept.note(number, 0, size)
        kept.keep(memoryview(bytes(size)), size)
    (newest,) = kept.numbers
    held = newest[1] - newest[0]
    assert newest[1] == 5000
    assert held == min(MAX_RETAINED_BURSTS, MAX_RETAINED_BYTES // size)


def test_a_check_finds_what_parity_carries_on() -> None:
    """SPEC 12.1-5: damage with a right CRC or XOR in one packet would be right in a sum of packets too."""
    layout = SymbolLayout(checked=True)
    rows = np.concatenate([layout.symbol(number, bytes([number]) * 64) for number in range(3)])
    parity = np.bitwise_xor.reduce(rows, axis=0)
    assert layout.payload(0, parity ^ rows[1] ^ rows[2]) == bytes(64)
    damaged = layout.symbol(1, b"\x01" * 30 + b"\x03\x03" + b"\x01" * 32)
    assert layout.payload(0, parity ^ damaged[0] ^ rows[2]) is None
