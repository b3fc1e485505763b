"""A flow over links of which one loses exactly the second to the seventh packet of the run."""

from __future__ import annotations

import asyncio
from pathlib import Path

from orchestrator.experiment import runner
from orchestrator.results import RunResult
from tests.support.topologies import bulk, impaired, line_topology

LISTED = {"delay": "5ms", "drop": "2-7"}
CLEAN = {"delay": "5ms"}


def run(backend: str, directory: Path, listed: dict[str, str] | None = None) -> RunResult:
    """Send a file from a over r1 to b; the first link has the list, both ways."""
    links = (impaired(listed or LISTED), impaired(CLEAN))
    topology = line_topology(*links, flows=(bulk(200_000),))
    return asyncio.run(runner.run(topology, backend, directory=directory))


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
