"""`narrows run` on virtual time: the whole path from YAML to verdict."""

from __future__ import annotations

import json
import signal
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.command import ROOT, await_line, narrows, started

#: Compares Strait with TCP of a kernel, which a simulation does not have.
VERSUS = ROOT / "topologies" / "versus.lab.yml"
TOPOLOGIES = sorted(set((ROOT / "topologies").glob("*.lab.yml")) - {VERSUS})
LINE = ROOT / "topologies" / "line.lab.yml"
TOO_MUCH = """
name: too-much
time-limit: 2s
topology:
  nodes: {a: {}, b: {}}
  links:
    - endpoints: ["a:eth1", "b:eth1"]
      netem: {delay: 10ms, rate: 1Mbit, queue: 20p}
workloads:
  - {name: film, kind: bulk, from: a, to: b, size: 5MB}
expect:
  - film: completion <= 1s
"""


@pytest.mark.slow
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda path: path.name.removesuffix(".lab.yml"))
def test_topology_that_we_ship_passes(topology: Path, tmp_path: Path) -> None:
    ended = narrows("run", topology, "--backend", "simulation", "--results", tmp_path, "-f", "json")
    result = ended.json()
    assert result["verdict"] == "PASS", result["reasons"]
    assert ended.code == 0
    assert (result["backend"], result["impairment"]) == ("simulation", "simulated")
    assert result["wire"]["frames"] > 0
    assert result["wire"]["violations"] == 0
    for flow in result["flows"].values():
        assert flow["completed"]
        assert flow["sha256"] == flow["source_sha256"] != ""
        assert flow["bits_per_second"] > 0
        assert flow["rtt_ms"] > 0 or flow["workload"] == "datagrams"
        assert flow["retransmitted_packets"] >= 0


def test_what_a_simulation_cannot_carry_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    ended = narrows("run", VERSUS, "--backend", "simulation", "--results", tmp_path / "results")
    assert ended.code == 127
    assert "back end simulation has no transport tcp" in ended.stderr
    assert not (tmp_path / "results").exists()


def test_results_are_kept_and_are_what_was_printed(tmp_path: Path) -> None:
    ended = narrows("run", LINE, "--backend", "simulation", "--results", tmp_path, "-f", "json")
    (directory,) = tmp_path.iterdir()
    assert directory.name == f"line-{ended.json()['run_id']}"
    assert json.loads((directory / "result.json").read_text()) == ended.json()
    assert len(list(directory.rglob("*.pcapng"))) == 3
    (flow,) = ended.json()["flows"].values()
    source, target = flow["statistics"]["source"], flow["statistics"]["target"]
    assert source["packets_sent"] == flow["packets_sent"]
    assert 0 < target["packets_received"] <= source["packets_sent"]
    assert sum(source["limited_time"].values()) / 1e9 == pytest.approx(flow["seconds"], rel=0.1)


def test_same_seed_gives_the_same_run_whatever_the_hash_seed(tmp_path: Path) -> None:
    def seconds(*seed: str, hash_seed: str) -> list[float]:
        ended = narrows(
            "run",
            LINE,
            "--backend",
            "simulation",
            "--results",
            tmp_path,
            "--no-capture",
            "-f",
            "json",
            *seed,
            environment={"PYTHONHASHSEED": hash_seed},
        )
        return [flow["seconds"] for flow in ended.json()["flows"].values()]

    assert seconds(hash_seed="1") == seconds(hash_seed="2") == seconds("--seed", "1", hash_seed="3")


def test_expectation_that_fails_is_1_with_its_reason(tmp_path: Path) -> None:
    topology = tmp_path / "too-much.lab.yml"
    topology.write_text(TOO_MUCH)
    ended = narrows(
        "run", topology, "--backend", "simulation", "--results", tmp_path, "--no-capture", "-f", "json"
    )
    assert ended.code == 1
    result = ended.json()
    assert result["verdict"] == "FAIL"
    assert "did not complete within the time limit of 2 s" in result["reasons"][0]
    assert result["seconds"] == 2.0
    assert result["flows"]["film"]["completed"] is False
    assert 0 < result["flows"]["film"]["bytes"] < 5_000_000
    assert [found["passed"] for found in result["expectations"]] == [False]


DAMAGED = """
name: damaged
time-limit: 1h
topology:
  nodes: {a: {}, r: {kind: router}, b: {}}
  links:
    - endpoints: ["a:eth1", "r:eth1"]
      netem: {delay: 1ms, corrupt: 20%}
    - endpoints: ["r:eth2", "b:eth1"]
      netem: {delay: 1ms, corrupt: 20%}
workloads:
  - {name: film, kind: bulk, from: a, to: b, file: film.bin, transport: {integrity: INTEGRITY}}
"""


@pytest.mark.parametrize("integrity", ["aead", "crc32c"])
def test_file_crosses_corrupting_links_intact(integrity: str, tmp_path: Path) -> None:
    result = run_damaged(integrity, tmp_path)
    assert result["verdict"] == "PASS", result["reasons"]
    assert result["flows"]["film"]["corrupted_bytes"] is None
    assert result["wire"]["damaged"] > 0


def test_what_slips_through_the_xor_checksum_is_counted(tmp_path: Path) -> None:
    """Two flipped bits in one column of a packet cancel each other in an XOR checksum."""
    result = run_damaged("xor", tmp_path)
    film = result["flows"]["film"]
    assert film["bytes"] == 1_000_000
    assert film["intact"] is False
    assert film["corrupted_bytes"] > 0
    assert any("slipped through the xor checksum" in note for note in result["notes"])


def run_damaged(integrity: str, tmp_path: Path) -> dict[str, Any]:
    topology = tmp_path / "damaged.lab.yml"
    topology.write_text(DAMAGED.replace("INTEGRITY", integrity))
    (tmp_path / "film.bin").write_bytes(Random(5).randbytes(1_000_000))
    results = tmp_path / "results"
    return narrows("run", topology, "--backend", "simulation", "--results", results, "-f", "json").json()


SET_UPS = """
name: set-ups
time-limit: 10min
topology:
  nodes: {a: {}, r: {kind: router}, b: {}}
  links:
    - endpoints: ["a:eth1", "r:eth1"]
      netem: {delay: 20ms, loss: 10%}
    - endpoints: ["r:eth2", "b:eth1"]
      netem: {delay: 5ms}
workloads:
"""


def test_every_way_to_set_a_connection_up_is_right_on_the_wire(tmp_path: Path) -> None:
    """SPEC 3.3, 15: as the wire probe reads it, through loss; with tickets for every second flow."""
    choices = product(("ik", "xx", "ik-psk2"), ("aes-gcm", "chacha20-poly1305"), ("false", "true"), (1, 2))
    workloads = [
        f"  - {{name: f{index}, kind: bulk, from: a, to: b, size: {20 * again}kB, start: {3 * index}s, "
        f"transport: {{handshake: {pattern}, cipher: {cipher}, post-quantum: {hybrid}, early-data: true}}}}\n"
        for index, (pattern, cipher, hybrid, again) in enumerate(choices)
    ]
    topology = tmp_path / "set-ups.lab.yml"
    topology.write_text(SET_UPS + "".join(workloads))
    results = tmp_path / "results"
    result = narrows("run", topology, "--backend", "simulation", "--results", results, "-f", "json").json()
    assert result["verdict"] == "PASS", result["reasons"]
    assert result["wire"]["violations"] == 0
    log = "".join(path.read_text() for path in results.glob("**/*key*"))
    assert log.count("STRAIT_EARLY") >= 4


def test_table_is_on_stdout_and_progress_on_stderr(tmp_path: Path) -> None:
    ended = narrows(
        "run",
        LINE,
        "--backend",
        "simulation",
        "--results",
        tmp_path,
        "--no-capture",
        environment={"NO_COLOR": "1"},
    )
    assert ended.code == 0
    assert "PASS  line on simulation" in ended.stdout
    assert "\x1b[" not in ended.stdout + ended.stderr
    assert "[running the flows]" in ended.stderr
    assert "[running the flows]" not in ended.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupted_run_is_130(number: signal.Signals, tmp_path: Path) -> None:
    demo = ROOT / "topologies" / "demo.lab.yml"
    with started("run", demo, "--backend", "simulation", "--results", tmp_path, "--no-capture") as process:
        await_line(process, "[running the flows]")
        process.send_signal(number)
        stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr
