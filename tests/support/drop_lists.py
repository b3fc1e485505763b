"""A flow over links of which one loses exactly the second to the seventh packet of the run."""

from __future__ import annotations

from orchestrator.results import RunResult
from orchestrator.topology.model import Topology
from tests.support.topologies import bulk, impaired, line_topology

LISTED = {"delay": "5ms", "drop": "2-7"}
CLEAN = {"delay": "5ms"}


def topology() -> Topology:
    """Return a file from a over r1 to b; the first link has the list, both ways."""
    return line_topology(impaired(LISTED), impaired(CLEAN), flows=(bulk(200_000),))


def check(result: RunResult) -> None:
    """Assert that six packets each way were lost on the first link, none on the other."""
    (flow,) = result.flows
    assert flow.completed, flow.error
    assert flow.intact
    gone = {(link.sender, link.receiver): link.frames_in - (link.frames_out or 0) for link in result.links}
    assert gone == {
        ("a:eth1", "r1:eth1"): 6,
        ("r1:eth1", "a:eth1"): 6,
        ("r1:eth2", "b:eth1"): 0,
        ("b:eth1", "r1:eth2"): 0,
    }
    assert result.wire.violations == 0
