"""Runs the tests of the transport under coverage and reads what they did not run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lanes.machine import ROOT

SOURCE = "node/protocol"
#: Tests that assert on what the transport does; those of files, labs and the command line add nothing.
SHARES = (
    ("tests/property", "tests/unit/protocol"),
    (
        "tests/contract/test_cong*.py",
        "tests/simulation",
    ),
)
#: Whole labs: minutes under coverage, and nothing of the transport that the others do not run.
NOT_RUN = (
    "test_backend.py",
    "test_calibration.py",
    "test_drop_lists.py",
    "test_ecn_marks.py",
    "test_engineer*.py",
    "test_expectations.py",
    "test_flows_of_many.py",
    "test_integrity_rates.py",
    "test_matrix.py",
    "test_pcap_tools.py",
    "test_probe*.py",
    "test_quic_flows.py",
    "test_repeats.py",
    "test_replay*.py",
    "test_run.py",
    "test_timeline*.py",
    "test_scenarios_*.py",
    "test_bbr_scenarios.py",
    "test_bbr_fairness.py",
    # A run that noted which test runs what found nothing that these alone run.
    "test_bulk_behind_a_gap.py",
    "test_calls.py",
    "test_deadlines.py",
    "test_fec_latency.py",
    "test_fec_on_the_wire.py",
    "test_large_labs.py",
    "test_node_flows.py",
    "test_on_the_wire.py",
)
LIMIT_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the tests ran of the transport."""

    #: Per cent of the statements, and of the ways out of branches.
    statements: float
    branches: float
    #: Module → lines not run and branches not taken, in coverage's notation.
    missing: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{name}: {what}" for name, what in sorted(self.missing.items())]
        return "\n".join([*lines, f"statements {self.statements:.2f} %, branches {self.branches:.2f} %"])


def measure(directory: Path) -> Coverage:
    """Run all shares at once, each in a process of its own; their data goes to ``directory``.

    Raises:
        RuntimeError: a test failed; the message holds the end of what pytest said.
    """
    running, logs = [], [directory / f"{number}.log" for number in range(len(SHARES))]
    for number, log in enumerate(logs):
        with log.open("wb") as output:
            argv = command(number)
            running.append(subprocess.Popen(argv, cwd=ROOT, env=environment(directory), stdout=output))
    for process, log in zip(running, logs, strict=True):
        if process.wait(LIMIT_SECONDS):
            raise RuntimeError(log.read_text(errors="replace")[-3000:])
    _coverage(directory, "combine", "-q")
    report = directory / "coverage.json"
    _coverage(directory, "json", "-q", "-o", str(report))
    return read(json.loads(report.read_text()))


def command(number: int) -> list[str]:
    """Return what runs a share of the tests."""
    paths = [str(path.relative_to(ROOT)) for name in SHARES[number] for path in sorted(ROOT.glob(name))]
    ignored = [f"--ignore-glob=*/{name}" for name in NOT_RUN]
    pytest = ["-m", "pytest", "-q", "-p", "no:randomly", *ignored, *paths]
    return [sys.executable, "-m", "coverage", "run", "--branch", "-p", f"--source={SOURCE}", *pytest]


def environment(directory: Path) -> dict[str, str]:
    """Return the environment in which data files go to ``directory``."""
    return {**os.environ, "COVERAGE_FILE": str(directory / "data")}


def read(report: dict[str, Any]) -> Coverage:
    """Return what a report of ``coverage json`` says."""
    totals = report["totals"]
    missing = {}
    for name, found in report["files"].items():
        lines = ", ".join(map(str, found["missing_lines"]))
        branches = ", ".join(f"{start}->{end}" for start, end in found["missing_branches"])
        if lines or branches:
            missing[name] = f"lines {lines or 'none'}; branches {branches or 'none'}"
    return Coverage(
        100 * totals["covered_lines"] / totals["num_statements"],
        100 * totals["covered_branches"] / totals["num_branches"],
        missing,
    )


def _coverage(directory: Path, *arguments: str) -> None:
    argv = [sys.executable, "-m", "coverage", *arguments]
    subprocess.run(argv, cwd=ROOT, env=environment(directory), check=True, timeout=LIMIT_SECONDS)
