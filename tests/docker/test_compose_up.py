"""``docker compose up --build --abort-on-container-exit``: the demo as a user starts it, on this kernel."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.topology.load import load
from tests.lanes.machine import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@dataclass(frozen=True)
class Demo:
    """What one run of the demo said and left."""

    exit_code: int
    output: str
    results: Path
    result: dict[str, Any]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo, run to its end under a project name and with a results directory of its own."""
    directory = tmp_path_factory.mktemp("compose")
    results = directory / "results"
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    override = directory / "override.yml"
    volumes = {"volumes": [f"{results}:/results"]}
    override.write_text(yaml.safe_dump({"services": dict.fromkeys(services, volumes)}))
    project = f"nw-test-{secrets.token_hex(4)}"
    compose = ["docker", "compose", "--ansi", "never", "-p", project, "--project-directory", str(ROOT)]
    compose += ["-f", str(ROOT / "docker-compose.yml"), "-f", str(override)]
    try:
        done = subprocess.run(
            [*compose, "up", "--build", "--abort-on-container-exit"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        found = list(results.glob("demo-*/result.json"))
        assert len(found) == 1, done.stdout[-6000:]
        yield Demo(done.returncode, done.stdout, found[0].parent, json.loads(found[0].read_text()))
    finally:
        subprocess.run([*compose, "down", "-v", "-t", "2"], capture_output=True, check=False)


def test_it_exits_with_0_and_says_pass(demo: Demo) -> None:
    assert demo.exit_code == 0, demo.output[-6000:]
    assert re.search(r"orchestrator-1 +\| PASS +demo on compose", demo.output)
    assert demo.result["verdict"] == "PASS"
    assert demo.result["backend"] == "compose"


def test_it_moves_a_file_of_20_mb_unharmed_over_a_lossy_path(demo: Demo) -> None:
    film = demo.result["flows"]["film"]
    assert film["bytes"] >= 20_000_000
    assert film["retransmitted_packets"] > 0, "the path was to be lossy"
    [received] = demo.results.glob("received/*/film")
    assert received.stat().st_size == film["bytes"]


def test_it_shows_progress_while_it_runs(demo: Demo) -> None:
    lines = re.findall(r"film: .*Mbit/s +RTT +[\d.]+ ms +window +[\d.]+ \w+ +lost \d+", demo.output)
    assert len(lines) > 2, demo.output[-6000:]


def test_every_link_was_captured_and_every_frame_checked(demo: Demo) -> None:
    links = load(ROOT / "topologies" / "demo.lab.yml").links
    assert len(list(demo.results.glob("captures/*.pcapng"))) == 2 * len(links), "one for each end"
    assert demo.result["wire"]["frames"] > 0
    assert demo.result["wire"]["violations"] == 0


def test_every_direction_of_every_link_was_measured(demo: Demo) -> None:
    """By the agents at its ends: the orchestrator's container is on no link."""
    calibration = demo.result["calibration"]
    assert calibration["measured"], calibration["notes"]
    assert calibration["shaper"] == demo.result["impairment"]
    rows = {(row["sender"], row["quantity"]): row for row in calibration["links"]}
    for link in load(ROOT / "topologies" / "demo.lab.yml").links:
        for end, asked in ((link.a, link.forward), (link.b, link.reverse)):
            assert rows[str(end), "delay"]["measured"] > 0.95 * (asked.delay - asked.jitter)
            assert rows[str(end), "loss"]["measured"] < 0.1
            # A busy machine may carry less, never more.
            assert 0 < rows[str(end), "rate"]["measured"] < 1.2 * asked.rate
            assert rows[str(end), "damage"]["measured"] == 0
            assert rows[str(end), "jitter"]["measured"] is not None
            assert rows[str(end), "reordering"]["measured"] is not None
            if demo.result["impairment"] == "userspace":
                assert rows[str(end), "split bursts"]["measured"] == 8
    assert "Links, measured before the flows started" in demo.output
    [note] = calibration["notes"]
    assert "nodes shape" in note or "agents shape" in note


def test_the_result_says_who_impaired_the_links(demo: Demo) -> None:
    assert demo.result["impairment"] in ("kernel", "userspace")
    assert ("netem in the kernel" in demo.output) == (demo.result["impairment"] == "kernel")
