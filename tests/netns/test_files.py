"""Real files over real packets: what was sent and what arrived are there afterwards, and are equal."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

import pytest

from orchestrator.pytest_plugin import Lab

pytestmark = [pytest.mark.netns, pytest.mark.slow]

TOPOLOGY = """
name: files
# Some file that is there; the test names its own.
parameters: {given: test_files.py}
topology:
  nodes: {a: , r: {kind: router}, b: }
  links:
    - endpoints: ["a:eth1", "r:eth1"]
      netem: {delay: 2ms, rate: 50Mbit}
    - endpoints: ["r:eth2", "b:eth1"]
      netem: {delay: 2ms}
      netem-forward: {loss: 2%}
workloads:
  given: {kind: bulk, from: a, to: b, file: "${given}"}
  made: {kind: bulk, from: a, to: b, size: 300kB}
  back: {kind: bulk, from: b, to: a, size: 1B}
  empty: {kind: bulk, from: b, to: a, size: 0B}
"""


@pytest.mark.topology(TOPOLOGY)
@pytest.mark.backends("netns")
def test_files_are_sent_received_and_kept(lab: Lab, tmp_path: Path) -> None:
    given = Random(5).randbytes(1_234_567)
    (tmp_path / "given.bin").write_bytes(given)
    result = lab.set(given=tmp_path / "given.bin").passes()
    flows = {flow.name: flow for flow in result.flows}
    for flow in result.flows:
        sent, received = (result.directory / str(path) for path in (flow.sent_file, flow.received_file))
        assert sent.read_bytes() == received.read_bytes()
        assert hashlib.sha256(received.read_bytes()).hexdigest() == flow.sha256 == flow.source_sha256
    sizes = {name: flow.bytes for name, flow in flows.items()}
    assert sizes == {"given": len(given), "made": 300_000, "back": 1, "empty": 0}
    assert (result.directory / str(flows["given"].received_file)).read_bytes() == given
    # Both ends of every link were captured, so the loss of the last one shows, too.
    assert result.wire.complete
    lost = {link.sender: link.frames_in - (link.frames_out or 0) for link in result.links}
    assert lost["r:eth2"] > 0
    assert lost["b:eth1"] == 0
