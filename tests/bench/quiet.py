"""Is the machine quiet enough to measure on? A spin loop of known work tells, and so does /proc/stat."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

#: Above these a run is marked noisy: spread of the spin loop's times, share of the processors others use.
SPREAD_LIMIT = 0.10
BUSY_LIMIT = 0.10


def check(seconds: float = 1.0) -> dict[str, float | bool]:
    """Spin for a while, then idle for a while, and say how disturbed both were."""
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        total = 0
        for number in range(50_000):
            total += number
        times.append(time.perf_counter() - started)
    quartiles = statistics.quantiles(times, n=10)
    spread = (quartiles[-1] - quartiles[0]) / statistics.median(times)
    before = _ticks()
    time.sleep(seconds / 2)
    after = _ticks()
    busy = (after[0] - before[0]) / max(1, after[1] - before[1])
    quiet = spread <= SPREAD_LIMIT and busy <= BUSY_LIMIT
    return {"quiet": quiet, "spread": round(spread, 3), "busy": round(busy, 3)}


def _ticks() -> tuple[int, int]:
    """Busy and all ticks of all processors."""
    values = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = values[3] + values[4]
    return sum(values) - idle, sum(values)
