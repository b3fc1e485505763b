"""Real files over real packets: what was sent and what arrived are there afterwards, and are equal."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

import pytest

from tests.support.command import narrows

pytestmark = [pytest.mark.netns, pytest.mark.slow]

TOPOLOGY = """
name: files
topology:
  nodes: {a: , r: {kind: router}, b: }
  links:
    - endpoints: ["a:eth1", "r:eth1"]
      netem: {delay: 2ms, rate: 50Mbit}
    - endpoints: ["r:eth2", "b:eth1"]
      netem: {delay: 2ms}
      netem-forward: {loss: 2%}
workloads:
  given: {kind: bulk, from: a, to: b, file: given.bin}
  made: {kind: bulk, from: a, to: b, size: 300kB}
  back: {kind: bulk, from: b, to: a, size: 1B}
  empty: {kind: bulk, from: b, to: a, size: 0B}
"""


def test_files_are_sent_received_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    (tmp_path / "files.lab.yml").write_text(TOPOLOGY)
    given = Random(5).randbytes(1_234_567)
    (tmp_path / "given.bin").write_bytes(given)
    ended = narrows(
        "run",
        tmp_path / "files.lab.yml",
        "--backend",
        "netns",
        "--results",
        tmp_path / "results",
        "-f",
        "json",
    )
    result = ended.json()
    assert result["verdict"] == "PASS", result["reasons"]
    directory = Path(result["directory"])
    sizes = {}
    for name, flow in result["flows"].items():
        sent, received = directory / flow["sent_file"], directory / flow["received_file"]
        assert sent.read_bytes() == received.read_bytes()
        assert hashlib.sha256(received.read_bytes()).hexdigest() == flow["sha256"] == flow["source_sha256"]
        sizes[name] = flow["bytes"]
    assert sizes == {"given": len(given), "made": 300_000, "back": 1, "empty": 0}
    assert (directory / result["flows"]["given"]["received_file"]).read_bytes() == given
    # Both ends of every link were captured, so the loss of the last one shows, too.
    assert result["wire"]["complete"]
    lost = {link["sender"]: link["frames_in"] - link["frames_out"] for link in result["links"]}
    assert lost["r:eth2"] > 0
    assert lost["b:eth1"] == 0
