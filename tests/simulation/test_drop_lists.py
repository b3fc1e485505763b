"""Packets lost by their number."""

from __future__ import annotations

from pathlib import Path

from tests.support import drop_lists


def test_exactly_the_listed_packets_are_lost(tmp_path: Path) -> None:
    drop_lists.check(drop_lists.run("simulation", tmp_path))
