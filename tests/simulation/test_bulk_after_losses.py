"""Ranges that were lost here and there go again in one burst, with new data behind them (SPEC 6-3)."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest

from node.protocol import trace
from node.protocol.recovery.sent_packets import SentBurst
from node.protocol.time import MILLISECOND, Duration
from tests.support.pair import Pair, perfect

DATA = Random(7).randbytes(60_000)
#: Stream bytes of a full bulk packet.
SIZE = 1410


def transfer(*lost: int, data: bytes = DATA, traced: bool = False) -> tuple[Pair, int, list[SentBurst]]:
    """Send ``data`` to its end, and lose these packets of the first flight; return what was sent after it."""
    pair = Pair(traced=traced)
    connection = pair.established()
    stream = connection.open_stream()
    numbers = count()

    def fate(datagram: bytearray, rng: Random) -> list[Duration]:
        return [] if next(numbers) in lost else [5 * MILLISECOND]

    pair.to_right = fate
    connection.write(stream, data, end=True)
    pair.drain()
    pair.to_right = perfect()
    first = connection.recovery.next_packet_number
    pair.run_until(lambda: connection.statistics().packets_lost >= len(lost))
    again = [record for record in connection.recovery.sent if record.first >= first]
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == len(data))
    assert pair.right_data[stream] == data
    return pair, stream, again


def test_ranges_lost_here_and_there_go_in_one_burst() -> None:
    pair, _, again = transfer(1, 3)
    [record] = [record for record in again if len(record.parts) > 1]
    assert record.data_of(record.full)[:2] == [(SIZE, 2 * SIZE, False), (3 * SIZE, 4 * SIZE, False)]
    assert pair.connection.statistics().retransmitted_packets == 2


def test_new_data_goes_in_the_burst_of_what_was_lost() -> None:
    _, _, again = transfer(1)
    [record] = [record for record in again if len(record.parts) > 1]
    lost, fresh = record.data_of(record.full)
    assert lost == (SIZE, 2 * SIZE, False)
    assert fresh[0] >= 9 * SIZE


def test_a_trace_tells_of_each_range_of_a_burst() -> None:
    pair, _, _ = transfer(1, 3, traced=True)
    runs = [event.run for event in pair.traced(trace.PacketSent, left=True) if event.run is not None]
    assert {(run.offset, run.end) for run in runs} >= {(SIZE, 2 * SIZE), (3 * SIZE, 4 * SIZE)}
    covered = 0
    for run in sorted(runs, key=lambda run: run.offset):
        assert run.offset <= covered
        covered = max(covered, run.end)
    assert covered <= len(DATA)


@pytest.mark.parametrize(
    ("mask", "ranges"),
    [
        (0b111111, [(100, 300, False), (700, 800, False), (1000, 1250, True)]),
        (0b000001, [(100, 200, False)]),
        (0b000110, [(200, 300, False), (700, 800, False)]),
        (0b110000, [(1100, 1250, True)]),
        (0b101000, [(1000, 1100, False), (1200, 1250, True)]),
    ],
)
def test_what_packets_of_a_burst_in_parts_carry(mask: int, ranges: list[tuple[int, int, bool]]) -> None:
    record = SentBurst(7, 6, 0, size=126, last_size=76)
    record.parts, record.data_size, record.data_end = ((0, 100), (2, 700), (3, 1000)), 100, 1250
    record.fin = True
    assert record.data_of(mask) == ranges
