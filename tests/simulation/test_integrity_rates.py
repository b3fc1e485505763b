"""What damage the integrity profiles miss: by the probe's measurement, and on links that corrupt."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from node.protocol.time import SECOND
from orchestrator.experiment.runner import run
from orchestrator.probes.integrity import DAMAGES, PROFILES, measure
from tests.support.topologies import bulk, impaired, line_topology

#: Of the packets, on each of two links.
CORRUPT = 0.2


def test_every_profile_finds_what_theory_says() -> None:
    """SPEC 4.1-1 to 4.1-3."""
    rates = measure(Random(5), trials=500)
    assert len(rates) == len(PROFILES) * len(DAMAGES)
    assert [str(rate) for rate in rates if not rate.agrees] == []
    assert not any(replace(rate, theory=(rate.theory + 0.5) % 1).agrees for rate in rates)


@pytest.mark.parametrize("profile", PROFILES)
def test_links_that_corrupt_much_break_no_rule_and_slip_as_theory_says(profile: str, tmp_path: Path) -> None:
    """SPEC 4.1-4: two flips, one a link, cancel under XOR when they are in one column, one time in eight."""
    link = impaired(delay="2ms", corrupt=f"{100 * CORRUPT:g}%")
    flow = bulk(2_000_000, integrity=profile)
    topology = line_topology(link, link, flows=(flow,), seed=4, time_limit=15 * SECOND)
    result = asyncio.run(run(topology, "simulation", directory=tmp_path))
    assert result.wire.details == ()
    packets = max(one.frames_in for one in result.links)
    assert result.wire.damaged > 0.2 * packets
    expected = packets * CORRUPT**2 / 8 if profile == "xor" else 0.0
    assert abs(result.wire.slipped - expected) <= 4 * expected**0.5
