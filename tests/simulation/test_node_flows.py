"""Whole nodes over a hostile network: a file arrives intact in every ARQ mode and integrity profile.

Single flipped bits, as here, are within what even ``xor`` detects.
"""

from __future__ import annotations

import pytest

from node.protocol.configuration import ARQ_CODES, INTEGRITY_CODES
from tests.support.nodes import NodePair
from tests.support.pair import hostile


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
