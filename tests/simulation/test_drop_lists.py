"""Packets lost by their number, real ones too: numbers count from the run's start, not from the lab's."""

from __future__ import annotations

import pytest

from orchestrator.pytest_plugin import Lab
from tests.support import drop_lists


@pytest.mark.topology(drop_lists.topology())
@pytest.mark.backends("simulation", "netns")
def test_exactly_the_listed_packets_are_lost(lab: Lab) -> None:
    drop_lists.check(lab.run())
