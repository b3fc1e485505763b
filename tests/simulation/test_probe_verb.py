"""`narrows probe`: an attack beside flows, judged by the probe, the flows and the captures."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli.support.exit_codes import ExitCode
from orchestrator.probes.base import PROBES
from tests.support.command import narrows

LAB = """
name: attacked
topology:
  nodes: {a: {kind: host}, r: {kind: router}, b: {kind: host}}
  links:
    - {endpoints: ["a:eth1", "r:eth1"], netem: {delay: 2ms, rate: 20Mbit, queue: 100p}}
    - endpoints: ["r:eth2", "b:eth1"]
workloads:
  - {name: file, kind: bulk, from: a, to: b, size: 500kB}
"""


@pytest.fixture
def attacked(tmp_path: Path) -> Path:
    path = tmp_path / "attacked.lab.yml"
    path.write_text(LAB)
    return path


def probe(attacked: Path, *words: str) -> dict[str, object]:
    """Run a probe in simulation; what it said as JSON."""
    results = attacked.parent / "results"
    return narrows("probe", *words, "--backend", "simulation", "--results", results, "-f", "json").json()


def test_every_probe_is_listed_with_what_it_does() -> None:
    told = narrows("probe", "--list").stdout
    assert all(f"{name} " in told for name in PROBES.names())


def test_an_attacker_beside_the_path_harms_nothing_and_is_answered_little(attacked: Path) -> None:
    """SPEC 1-2, 4.3-3, 3-3: dropped and counted, but for what may be answered, one for one."""
    found = probe(attacked, "spoofed", str(attacked), "--at", "r:eth1")
    assert found["passed"]
    assert found["failures"] == []
    figures = found["figures"]
    assert isinstance(figures, dict)
    assert figures["frames_sent"] == 400
    assert figures["packets_dropped_and_counted"] > 150  # half of them go to b, which is not on this link
    wire = found["wire"]
    assert isinstance(wire, dict)
    assert wire["violations"] == 0
    assert wire["frames"] > 1000


def test_rates_of_missed_damage_are_told_as_a_table(attacked: Path) -> None:
    words = ("probe", "integrity", attacked, "--backend", "simulation", "--results", attacked.parent / "r")
    lines = narrows(*words).stdout.splitlines()
    rows = [line.split() for line in lines if line.rstrip().endswith(" inside")]
    assert len(rows) == 39
    assert rows[6][:2] == ["xor", "swap"]
    assert rows[6][2] == rows[6][3]  # of so many packets all were missed
    assert sum("connections of probes" in line for line in lines) == 1
    assert not any("not captured" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("no-such-probe",), "use one of"),
        (("spoofed", "--at", "a:eth9"), "a:eth9"),
        (("spoofed", "--at", "a"), "NODE:INTERFACE"),
        (("spoofed", "--duration", "soon"), "--duration"),
    ],
)
def test_what_is_wrong_is_said(attacked: Path, words: tuple[str, ...], told: str) -> None:
    name, *rest = words
    ended = narrows(
        "probe", name, attacked, *rest, "--backend", "simulation", "--results", attacked.parent / "r"
    )
    assert ended.code != ExitCode.OK
    assert ended.stdout == ""
    assert told in ended.stderr
