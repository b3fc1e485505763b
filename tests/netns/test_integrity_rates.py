"""A real node gets damaged packets over a real link, with no UDP checksum, and misses what theory says."""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.time import SECOND
from orchestrator.probes.damages import KINDS, PROFILES
from orchestrator.probes.integrity import IntegrityProbe
from orchestrator.pytest_plugin import Lab
from orchestrator.topology.model import LinkEndpoint
from tests.netns.labs import PAIR

pytestmark = [pytest.mark.netns, pytest.mark.any_kernel]


@pytest.mark.topology(PAIR)
@pytest.mark.backends("netns")
def test_a_real_node_misses_what_theory_says(lab: Lab) -> None:
    """SPEC 4.1-4, counted by what the node took, gave to its flow, and dropped."""
    with lab.deployed() as up:
        probe = IntegrityProbe().run(
            up.deployment, up.plan, endpoint=LinkEndpoint("left", "eth1"), duration=2 * SECOND, rng=Random(1)
        )
        found = up.do(probe)
    rows = {(str(row["profile"]), str(row["damage"])): row for row in found.table}
    assert len(rows) == len(PROFILES) * len(KINDS)
    assert [row for row in rows.values() if row["verdict"] != "inside"] == []
    assert found.passed, found.notes
    assert rows["xor", "swap"]["missed"] == rows["xor", "swap"]["packets"]
    assert not any(row["missed"] for (profile, _), row in rows.items() if profile != "xor")
    assert found.figures["damaged_packets_judged_by_the_node"] > 500
