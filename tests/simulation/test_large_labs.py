"""What grows with the square of a lab shows in a lab of hundreds of links at one node."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.experiment.runner import run
from orchestrator.probes.wire import headers, sightings
from orchestrator.topology.load import parse

HOSTS = 100
STAR = f"""
name: hub
topology: {{generate: {{star: {{shape: star, size: {HOSTS}}}}}}}
workloads: {{film: {{kind: bulk, from: star-h1, to: star-h{HOSTS}, size: 10kB}}}}
"""


def test_the_wire_probe_looks_at_each_address_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Counter[str]()

    def counting(text: str) -> bytes:
        asked[text] += 1
        return headers.address_bytes(text)

    monkeypatch.setattr(sightings, "address_bytes", counting)
    result = asyncio.run(run(parse(STAR.encode(), file="hub.lab.yml"), "simulation", directory=tmp_path))
    assert result.wire.frames > 0
    assert len(asked) == 2 * HOSTS
    assert max(asked.values()) == 1
