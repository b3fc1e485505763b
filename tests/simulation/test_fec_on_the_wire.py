"""Flows with FEC through a whole run: the second reading of the specification finds nothing wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.experiment.runner import run
from orchestrator.results import Verdict
from tests.support.topologies import bulk, impaired, line_topology


@pytest.mark.slow
@pytest.mark.parametrize(
    "transport",
    [
        {"fec": "xor", "fec_arq": "always", "arq": "go-back-n"},
        {"fec": "reed-solomon", "fec_arq": "on-request"},
        {"fec": "reed-solomon", "integrity": "crc32c"},
    ],
)
def test_a_run_with_fec_breaks_no_rule_on_the_wire(transport: dict[str, object], tmp_path: Path) -> None:
    """Small windows, so that credit which came by repair is used at once."""
    windows = {"stream_window": 60_000, "connection_window": 90_000}
    link = impaired(delay="5ms", loss="3%", rate="20Mbit")
    flow = bulk(600_000, congestion="bbr", **windows, **transport)  # type: ignore[arg-type]
    result = asyncio.run(run(line_topology(link, link, flows=(flow,)), "simulation", directory=tmp_path))
    assert result.verdict is Verdict.PASS
    assert result.wire.complete
    assert result.wire.violations == 0
