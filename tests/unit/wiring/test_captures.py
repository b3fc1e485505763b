"""What many captures of one lab share."""

from __future__ import annotations

import pytest

from node.capture.ring import RETIRE_MS
from orchestrator.wiring.captures import RINGS_MIB, retire_ms, ring_mib


@pytest.mark.parametrize("links", [1, 16, 99, 100, 101, 999, 5000])
def test_timers_and_memory_of_all_rings_stay_within_bounds(links: int) -> None:
    rings = 2 * links
    assert rings * 1000 / retire_ms(links) <= 10_000 + rings
    assert rings * ring_mib(links) <= max(RINGS_MIB, rings)


def test_a_lab_of_few_links_is_captured_as_soon_as_any() -> None:
    assert (retire_ms(1), retire_ms(100), retire_ms(1000)) == (RETIRE_MS, RETIRE_MS, 10 * RETIRE_MS)
