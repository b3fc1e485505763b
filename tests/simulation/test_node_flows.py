"""Whole nodes over a hostile network: a file arrives intact in every ARQ mode and integrity profile.

Single flipped bits, as here, are within what even ``xor`` detects.
"""

from __future__ import annotations

import pytest

from node.protocol.configuration import ARQ_CODES, INTEGRITY_CODES
from node.protocol.time import MILLISECOND
from tests.support.nodes import NodePair
from tests.support.pair import hostile, perfect


@pytest.mark.parametrize("arq", ARQ_CODES)
@pytest.mark.parametrize("integrity", INTEGRITY_CODES)
def test_a_file_arrives_intact_through_loss_duplication_reordering_and_damage(
    integrity: str, arq: str
) -> None:
    network = hostile(loss=0.2, duplicate=0.05, reorder=0.1, corrupt=0.01)
    pair = NodePair(network, transport={"integrity": integrity, "arq": arq})
    pair.flow("f", "bulk", size=300_000)
    source, target = pair.run_until_finished("f")
    assert source["ok"], source["error"]
    assert source["sha256"] == target["sha256"]
    assert len(pair.sinks["f"].data) == 300_000


@pytest.mark.parametrize("workload", ["bulk", "echo", "messages"])
def test_the_second_flow_to_a_node_begins_with_early_data(workload: str) -> None:
    """SPEC 15: the target has all of a short file a round trip sooner."""
    options = {"bulk": {"size": 500}, "echo": {"count": 3}, "messages": {"count": 3}}[workload]
    durations = {}
    for early in (False, True):
        pair = NodePair(perfect(50 * MILLISECOND), transport={"early_data": early})
        pair.flow("first", workload, **options)
        pair.run_until_finished("first")
        began = pair.now
        pair.flow("second", workload, **options)
        pair.run_until_finished("second")
        for name in ("first", "second"):
            for node in ("left", "right"):
                end = pair.finished(node, name)
                assert end is not None
                assert end["ok"], end["error"]
        started = next(
            e.time for e in pair.events
            if (e.node, e.kind, e.data.get("flow")) == ("right", "flow_started", "second")
        )  # fmt: skip
        durations[early] = started - began
    assert durations == {False: 150 * MILLISECOND, True: 50 * MILLISECOND}
