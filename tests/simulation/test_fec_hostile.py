"""A peer that abuses FEC (SPEC 12): no exception, bounded memory and work, and it harms only itself."""

from __future__ import annotations

import tracemalloc
from random import Random

import pytest

from node.protocol.configuration import Configuration
from node.protocol.errors import ErrorCode
from node.protocol.events import ConnectionClosed
from node.protocol.repair.rebuilder import MAX_OPEN_BLOCKS, MAX_WAITING_BYTES
from node.protocol.repair.retained import MAX_RETAINED_BYTES
from node.protocol.statistics import Statistics
from node.protocol.time import SECOND
from node.protocol.wire.fec_frames import FecRecovered, FecRepair
from node.protocol.wire.frames import Close, Frame, MaxData, Ping, Stream
from tests.attacks.caps import calls_of
from tests.support.forge import Forger
from tests.support.pair import Pair

XOR, REED_SOLOMON = 1, 2


def forged(fec: str = "xor", *, integrity: str = "aead") -> tuple[Pair, Forger]:
    """A right end that agreed on FEC, with a forger in the place of the left one."""
    pair = Pair(left=Configuration(fec=fec, integrity=integrity))
    pair.established()
    pair.run_for(SECOND)
    pair.to_left = pair.to_right = lambda datagram, rng: []
    return pair, Forger(pair)


def statistics(pair: Pair) -> Statistics:
    assert pair.accepted is not None
    return pair.accepted.statistics()


def symbol(*frames: Frame, size: int = 40) -> bytes:
    payload = b"".join(frame.encode() for frame in frames)
    return (len(payload).to_bytes(2, "big") + payload).ljust(size, b"\0")


def closed_with(pair: Pair) -> int | None:
    event = pair.closed(right=True)
    return None if event is None else event.code


def test_a_forged_block_of_one_packet_works_like_the_real_one() -> None:
    """The baseline of all below: repair of a packet that never came."""
    pair, forger = forged()
    number = forger.number
    forger.number += 1
    forger.send(FecRepair(XOR, ((number, number + 1),), 1, 0, symbol(Stream(0, 0, b"rebuilt", fin=True))))
    assert pair.right_data[0] == b"rebuilt"
    assert statistics(pair).fec_packets_rebuilt == 1
    assert FecRecovered(((number, number + 1),)) in forger.answers()


@pytest.mark.parametrize("integrity", ["aead", "crc32c", "xor"])
def test_without_agreement_the_frames_are_a_violation(integrity: str) -> None:
    """SPEC 12-2; in the checksum profiles it may be damage (5-1)."""
    for frame in (FecRepair(XOR, ((0, 1),), 1, 0, b"abc"), FecRecovered(((0, 1),))):
        pair, forger = forged("none", integrity=integrity)
        forger.send(frame)
        wanted = ErrorCode.PROTOCOL_VIOLATION if integrity == "aead" else None
        assert closed_with(pair) == wanted


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (FecRepair(REED_SOLOMON, ((50, 60),), 1, 0, bytes(40)), ErrorCode.PROTOCOL_VIOLATION),
        (FecRepair(9, ((50, 60),), 1, 0, bytes(40)), ErrorCode.PROTOCOL_VIOLATION),
        (FecRepair(XOR, ((50, 60),), 1, 0, b""), ErrorCode.PROTOCOL_VIOLATION),
        (FecRepair(XOR, ((50, 60),), 1, 0, b"ab"), ErrorCode.PROTOCOL_VIOLATION),
        (FecRepair(XOR, ((50, 60),), 1, 1, bytes(40)), ErrorCode.FRAME_ENCODING),
        (FecRepair(XOR, ((50, 60),), 0, 0, bytes(40)), ErrorCode.FRAME_ENCODING),
        (FecRepair(XOR, ((50, 60),), 33, 0, bytes(40)), ErrorCode.FRAME_ENCODING),
        (FecRepair(XOR, ((50, 179),), 1, 0, bytes(40)), ErrorCode.FRAME_ENCODING),
        (FecRepair(XOR, ((50, 1 << 40),), 1, 0, bytes(40)), ErrorCode.FRAME_ENCODING),
        (
            FecRepair(XOR, tuple((2 * n, 2 * n + 1) for n in range(9)), 1, 0, bytes(40)),
            ErrorCode.FRAME_ENCODING,
        ),
        (FecRecovered(((1 << 40, (1 << 40) + 1),)), ErrorCode.PROTOCOL_VIOLATION),
        (FecRecovered(((0, 1 << 40),)), ErrorCode.PROTOCOL_VIOLATION),
        (
            FecRecovered(tuple((2 * n, 2 * n + 1) for n in range(40, 7, -1))),
            ErrorCode.FRAME_ENCODING,
        ),
    ],
)
def test_frames_beyond_a_bound_close_the_connection(frame: Frame, code: ErrorCode) -> None:
    """SPEC 12.1-2, 12.2-1, 12.4-5."""
    pair, forger = forged()
    forger.send(frame)
    assert closed_with(pair) == code


def test_bounds_can_be_reached() -> None:
    """The last values that work: 128 packets, 8 ranges, 32 symbols."""
    pair, forger = forged()
    forger.number += 400
    ranges = tuple((40 * n + 50, 40 * n + 66) for n in range(8))
    forger.send(FecRepair(XOR, ranges, 32, 31, bytes(40)))
    assert closed_with(pair) is None
    assert statistics(pair).fec_repairs_received == 1


@pytest.mark.parametrize(
    "second",
    [
        FecRepair(XOR, ((50, 61),), 2, 1, bytes(40)),
        FecRepair(XOR, ((50, 60),), 3, 1, bytes(40)),
        FecRepair(XOR, ((50, 60),), 2, 1, bytes(41)),
        FecRepair(XOR, ((59, 70),), 2, 1, bytes(40)),
        FecRepair(XOR, ((40, 51),), 2, 1, bytes(40)),
        FecRepair(XOR, ((45, 46), (75, 76)), 2, 1, bytes(40)),
    ],
)
def test_symbols_that_contradict_each_other_close_the_connection(second: FecRepair) -> None:
    """SPEC 12.1-1."""
    pair, forger = forged()
    forger.number += 100
    forger.send(FecRepair(XOR, ((50, 60),), 2, 0, bytes(40)))
    assert closed_with(pair) is None
    forger.send(second)
    assert closed_with(pair) == ErrorCode.PROTOCOL_VIOLATION


def test_a_symbol_shorter_than_its_packets_closes_the_connection() -> None:
    """SPEC 12.1-4."""
    pair, forger = forged()
    number = forger.number
    forger.send(Stream(0, 0, bytes(100)))
    forger.number += 1
    forger.send(FecRepair(XOR, ((number, number + 2),), 1, 0, bytes(40)))
    assert closed_with(pair) == ErrorCode.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    "content",
    [
        bytes(40),  # length 0
        b"\xff\xff" + bytes(38),  # longer than the symbol
        b"\x00\x05\x3f" + bytes(37),  # an unknown frame
        b"\x00\x03\x0a\x00\x00" + bytes(35),  # a truncated frame
    ],
)
@pytest.mark.parametrize("integrity", ["aead", "crc32c"])
def test_a_rebuilt_payload_that_is_none_is_dropped_and_counted(content: bytes, integrity: str) -> None:
    """SPEC 12.4-3; in the checksum profile its check is wrong first (12.1-5)."""
    pair, forger = forged(integrity=integrity)
    number = forger.number
    forger.number += 1
    forger.send(FecRepair(XOR, ((number, number + 1),), 1, 0, content))
    found = statistics(pair)
    assert found.fec_packets_rebuilt == 0
    assert found.fec_payloads_spoilt + found.malformed_packets == 1
    assert closed_with(pair) is None
    forger.send(Stream(0, 0, b"goes on"))
    assert pair.right_data[0] == b"goes on"


def test_a_rebuilt_payload_that_breaks_the_protocol_does_what_a_received_one_does() -> None:
    """SPEC 12.4-3."""
    pair, forger = forged()
    number = forger.number
    forger.number += 1
    forger.send(FecRepair(XOR, ((number, number + 1),), 1, 0, symbol(Stream(0, 1 << 40, b"x"))))
    assert closed_with(pair) == ErrorCode.FLOW_CONTROL


def test_close_and_acknowledgements_in_a_rebuilt_payload_mean_nothing() -> None:
    """SPEC 12.4-3."""
    pair, forger = forged()
    number = forger.number
    forger.number += 1
    inner = FecRepair(XOR, ((number + 70, number + 71),), 1, 0, bytes(9))
    frames = (Close(7, ""), MaxData(1), inner)
    forger.send(FecRepair(XOR, ((number, number + 1),), 1, 0, symbol(*frames, size=60)[:60]))
    assert closed_with(pair) is None
    assert statistics(pair).fec_repairs_received == 1


def test_each_packet_is_rebuilt_once_and_a_replay_of_its_repair_does_nothing() -> None:
    """SPEC 12.4-2."""
    pair, forger = forged()
    number = forger.number
    forger.number += 1
    repair = FecRepair(XOR, ((number, number + 1),), 1, 0, symbol(Stream(0, 0, b"once")))
    for _ in range(5):
        forger.send(repair)
    assert statistics(pair).fec_packets_rebuilt == 1
    forger.send(Stream(0, 0, b"late"), number=number)
    assert pair.right_data[0] == b"once"
    assert statistics(pair).duplicate_packets == 0
    forger.send(Stream(0, 0, b"late"), number=number)
    assert statistics(pair).duplicate_packets == 1


@pytest.mark.parametrize("fec", ["xor", "reed-solomon"])
def test_blocks_that_are_never_finished_take_bounded_memory_and_work(fec: str) -> None:
    """SPEC 12.4-1: repair for ever, each of another block of 128 packets that never come."""
    pair, forger = forged(fec)
    first = forger.number
    forger.number += 1 << 20
    packets = 2000

    def flood() -> None:
        for n in range(packets):
            start = first + 130 * n
            forger.send(
                FecRepair(REED_SOLOMON if fec != "xor" else XOR, ((start, start + 128),), 32, 0, bytes(1400))
            )

    tracemalloc.start()
    calls = calls_of(flood)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert closed_with(pair) is None
    assert statistics(pair).fec_blocks_unrepaired == packets - MAX_OPEN_BLOCKS
    # What the endpoint and the pair's own record of the wire take beside it.
    assert used < MAX_WAITING_BYTES + MAX_RETAINED_BYTES + packets * 4096
    assert calls < packets * 1000  # whatever the number of blocks, and of packets in one


def test_small_packets_into_many_open_blocks_cost_little_each() -> None:
    """Each packet concerns one block at most: blocks do not overlap (SPEC 12.1-1)."""
    pair, forger = forged("reed-solomon")
    first = forger.number
    for n in range(MAX_OPEN_BLOCKS):
        start = first + 130 * n
        repair = FecRepair(REED_SOLOMON, ((start, start + 128),), 32, 0, bytes(1400))
        forger.send(repair, number=first + 130 * MAX_OPEN_BLOCKS + n)
    packets = [first + 130 * (n % MAX_OPEN_BLOCKS) + n // MAX_OPEN_BLOCKS for n in range(1600)]

    def flood() -> None:
        for number in packets:
            forger.send(Ping(), number=number)

    assert calls_of(flood) < len(packets) * 1000
    assert closed_with(pair) is None


def test_any_symbols_whatever_are_taken_or_dropped() -> None:
    """Inconsistent symbols of a real block: what comes out is no frames, or frames like any other."""
    rng = Random(4)
    for seed in range(60):
        pair, forger = forged("reed-solomon")
        first, count = forger.number, rng.randrange(1, 20)
        for number in range(first, first + count):
            if rng.random() < 0.7:
                forger.send(Stream(0, rng.randrange(50), rng.randbytes(rng.randrange(1, 30))), number=number)
        forger.number = first + count
        for index in rng.sample(range(8), 6):
            content = symbol(Stream(0, 0, rng.randbytes(20))) if seed % 2 else rng.randbytes(40)
            forger.send(FecRepair(REED_SOLOMON, ((first, first + count),), 8, index, content))
        events = [event for event in pair.right_events if isinstance(event, ConnectionClosed)]
        assert len(events) <= 1


def test_a_report_of_rebuilt_packets_moves_no_window() -> None:
    """SPEC 12-1: a peer that claims to have rebuilt everything gets nothing acknowledged."""
    pair, forger = forged()
    assert pair.accepted is not None
    stream_id = pair.accepted.open_stream()
    pair.accepted.write(stream_id, bytes(60_000))
    pair.drain()
    before = statistics(pair)
    forger.send(FecRecovered(((0, before.packets_sent),)))
    after = statistics(pair)
    assert after.congestion_window == before.congestion_window
    assert after.bytes_in_flight >= before.bytes_in_flight
    assert after.packets_lost == 0
