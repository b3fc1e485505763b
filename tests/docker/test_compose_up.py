"""``docker compose up --build --abort-on-container-exit``: the demo as a user starts it, on this kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.compose.generate import generate
from orchestrator.topology.load import load
from tests.lanes.machine import ROOT
from tests.support.compose import Run, compose_up

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The demo, run to its end."""
    with compose_up(ROOT / "docker-compose.yml", tmp_path_factory.mktemp("compose")) as done:
        yield done


def test_it_exits_with_0_and_says_pass(demo: Run) -> None:
    assert demo.exit_code == 0, demo.output[-6000:]
    assert re.search(r"orchestrator-1 +\| PASS +demo on compose", demo.output)
    assert demo.result["verdict"] == "PASS"
    assert demo.result["backend"] == "compose"


def test_it_moves_a_file_of_20_mb_unharmed_over_a_lossy_path(demo: Run) -> None:
    film = demo.result["flows"]["film"]
    assert film["bytes"] >= 20_000_000
    assert film["retransmitted_packets"] > 0, "the path was to be lossy"
    [received] = demo.results.glob("received/*/film")
    assert received.stat().st_size == film["bytes"]


def test_it_shows_progress_while_it_runs(demo: Run) -> None:
    lines = re.findall(r"film: .*Mbit/s +RTT +[\d.]+ ms +window +[\d.]+ \w+ +lost \d+", demo.output)
    assert len(lines) > 2, demo.output[-6000:]


def test_every_link_was_captured_and_every_frame_checked(demo: Run) -> None:
    links = load(ROOT / "topologies" / "demo.lab.yml").links
    assert len(list(demo.results.glob("captures/*.pcapng"))) == 2 * len(links), "one for each end"
    assert demo.result["wire"]["frames"] > 0
    assert demo.result["wire"]["violations"] == 0


def test_every_direction_of_every_link_was_measured(demo: Run) -> None:
    """By the agents at its ends: the orchestrator's container is on no link."""
    calibration = demo.result["calibration"]
    assert calibration["measured"], calibration["notes"]
    assert calibration["shaper"] == demo.result["impairment"]
    rows = {(row["sender"], row["quantity"]): row for row in calibration["links"]}
    for link in load(ROOT / "topologies" / "demo.lab.yml").links:
        for end, asked in ((link.a, link.forward), (link.b, link.reverse)):
            assert rows[str(end), "delay"]["measured"] > 0.95 * (asked.delay - asked.jitter)
            assert rows[str(end), "loss"]["measured"] < 0.1
            assert rows[str(end), "rate"]["measured"] > 0
            assert rows[str(end), "damage"]["measured"] == 0
            assert rows[str(end), "jitter"]["measured"] is not None
            assert rows[str(end), "reordering"]["measured"] is not None
            if demo.result["impairment"] == "userspace":
                assert rows[str(end), "split bursts"]["measured"] == 8
    assert "Links, measured before the flows started" in demo.output
    [note] = calibration["notes"]
    assert "nodes shape" in note or "agents shape" in note


def test_the_result_says_who_impaired_the_links(demo: Run) -> None:
    assert demo.result["impairment"] in ("kernel", "userspace")
    assert ("netem in the kernel" in demo.output) == (demo.result["impairment"] == "kernel")


def test_flows_over_tcp_and_quic_run_where_the_file_was_written_for_them(tmp_path: Path) -> None:
    """Nodes have aioquic, and the right to any controller of TCP; the orchestrator has neither."""
    topology = "topologies/versus.lab.yml"
    file = tmp_path / "docker-compose.yml"
    file.write_text(generate(load(ROOT / topology), topology))
    with compose_up(file, tmp_path) as done:
        flows = done.result["flows"].values()
        assert all(flow["intact"] for flow in flows), done.output[-6000:]
        assert {flow["transport"] for flow in flows} == {"strait", "tcp", "quic"}
        assert done.result["calibration"]["measured"], done.result["calibration"]["notes"]
