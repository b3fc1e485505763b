"""What a test of an attack may cost: bytes by tracemalloc, work by counted calls. Never by the clock."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType

from node.protocol.endpoint import Endpoint


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions, of Python and of C, are called by ``work``."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def bytes_of(work: Callable[[], object]) -> tuple[int, int]:
    """Return by how many bytes ``work`` let memory grow, in the end and at its highest."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        peak = tracemalloc.get_traced_memory()[1]
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    return after - before, peak - before


def total_drops(endpoint: Endpoint) -> int:
    """Return how many datagrams an endpoint and its connections have dropped, whatever for."""
    found = sum(endpoint.drops.counts.values())
    for connection in endpoint.connections:
        statistics = connection.statistics()
        found += statistics.integrity_failures + statistics.duplicate_packets + statistics.malformed_packets
    return found
