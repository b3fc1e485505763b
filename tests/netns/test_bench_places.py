"""Benchmarks that run side by side leave each other's networks alone."""

from __future__ import annotations

import subprocess

import pytest

from tests.bench.__main__ import one
from tests.bench.places import Routed

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.any_kernel]


def test_a_routed_place_is_its_owners_alone() -> None:
    """One that began or ended took the other's network away: its connection heard nothing more, and died."""
    first, second = Routed(), Routed(loss=0.01)
    with first as place:
        with second:
            assert _names() >= {at.namespace(name) for at in (first, second) for name in "arb"}
        assert not _names() & {second.namespace(name) for name in "arb"}
        assert one(place, "strait", "bulk", 1_000_000, 17_000) is not None
    assert not _names() & {first.namespace(name) for name in "arb"}


def _names() -> set[str]:
    found = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    return {line.split()[0] for line in found.splitlines()}
