"""What a throughput test writes ahead: enough to keep the path busy, and little to wait for at its end."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from node.protocol.time import MILLISECOND, SECOND, Duration, Instant
from orchestrator.perf.sessions import Sender, Wanted
from tests.support.pair import Fate, Pair, perfect

DELAY = 15 * MILLISECOND
QUEUE: Duration = 100 * MILLISECOND
TIME: Duration = 3 * SECOND


def bottleneck(rate: int, clock: Callable[[], Instant]) -> Fate:
    """A link of ``rate`` bit/s whose queue holds a tenth of a second."""
    free: Instant = 0

    def fate(datagram: bytearray, rng: Random) -> list[Duration]:
        nonlocal free
        now = clock()
        starts = max(now, free)
        if starts - now > QUEUE:
            return []
        free = starts + len(datagram) * 8 * SECOND // rate
        return [free - now + DELAY]

    return fate


def run_over(rate: int, *, parallel: int = 1) -> tuple[Sender, Pair, Instant]:
    """Run a test over such a link until all has arrived; also returns when its time was over."""
    pair = Pair(to_left=perfect(DELAY))
    pair.to_right = bottleneck(rate, lambda: pair.now)
    sender = Sender(pair.established(), Wanted(duration=TIME, parallel=parallel), now=pair.now)
    end = pair.now + TIME
    # Its owner comes back after each step, and many times a second else.
    while not (sender.over and not any(sending.stream.backlog() for sending in sender.streams)):
        pair.run_for(5 * MILLISECOND)
        sender.pump(now=pair.now)
        pair.drain()
        assert pair.now < 60 * SECOND
    return sender, pair, end


@pytest.mark.slow
@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("rate", [300_000, 1_000_000, 10_000_000])
def test_what_was_written_has_arrived_soon_after_the_time(rate: int, parallel: int) -> None:
    sender, pair, end = run_over(rate, parallel=parallel)
    assert pair.now - end <= 1 * SECOND
    written = [sending.written for sending in sender.streams]
    assert sorted(map(len, pair.right_data.values())) == sorted(written)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("rate", [1_000_000, 10_000_000, 40_000_000])
def test_the_path_is_kept_busy(rate: int, parallel: int) -> None:
    sender, pair, end = run_over(rate, parallel=parallel)
    moved = sum(sending.written for sending in sender.streams) * 8
    assert moved >= 0.9 * rate * TIME / SECOND
    assert pair.now >= end
