"""What many captures of one lab share."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from node.capture.ring import RETIRE_MS
from orchestrator.errors import BackendError
from orchestrator.executor import Executor
from orchestrator.wiring.captures import RINGS_MIB, Capture, retire_ms, ring_mib, wait_ready
from orchestrator.wiring.state import LinkRecord


@pytest.mark.parametrize("links", [1, 16, 99, 100, 101, 999, 5000])
def test_timers_and_memory_of_all_rings_stay_within_bounds(links: int) -> None:
    rings = 2 * links
    assert rings * 1000 / retire_ms(links) <= 10_000 + rings
    assert rings * ring_mib(links) <= max(RINGS_MIB, rings)


def test_a_lab_of_few_links_is_captured_as_soon_as_any() -> None:
    assert (retire_ms(1), retire_ms(100), retire_ms(1000)) == (RETIRE_MS, RETIRE_MS, 10 * RETIRE_MS)


@pytest.mark.parametrize(
    ("script", "told"), [("echo no room; exit 3", "3:\nno room\n"), ("kill -KILL $$", "-9:\n")]
)
def test_a_capture_that_ends_at_once_is_told_with_how_it_ended(
    script: str, told: str, tmp_path: Path
) -> None:
    """One that was killed says nothing itself."""
    link = LinkRecord("a:eth1--b:eth1", 0, "a:eth1", "b:eth1", 1500, "", "", "")
    log = tmp_path / "log"
    process = Executor().spawn(["sh", "-c", script], namespace=None, log=log, environment={}, attached=False)
    capture = Capture(link, process, tmp_path / "none.pcapng")
    with pytest.raises(BackendError, match=re.escape(f"{link.name} has ended with exit code {told}") + "$"):
        asyncio.run(wait_ready([capture]))
