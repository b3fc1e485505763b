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
    ("tests/property", "tests/unit/protocol", "tests/contract/test_cong*.py"),
    ("tests/simulation",),
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
    "test_cell_table.py",
    "test_deadlines.py",
    "test_determinism.py",
    "test_fec_latency.py",
    "test_fec_on_the_wire.py",
    "test_large_labs.py",
    "test_node_flows.py",
    "test_on_the_wire.py",
    "test_qlog.py",
)
#: Long tests of files whose others are run: together they alone run 3 statements and 3 branches.
NOT_RUN_ALONE = (
    "tests/contract/test_congestion_controllers.py::test_it_carries_a_transfer_over_every_standard_link",
    "tests/simulation/test_bbr_procedures.py::test_10_entering_and_exiting_probe_rtt",
    "tests/simulation/test_bbr_procedures.py::"
    "test_15_increasing_bandwidth_10x_and_ensuring_full_bandwidth_is_reached",
    "tests/simulation/test_bbr_procedures.py::"
    "test_16_decreasing_bandwidth_10x_and_ensuring_max_bandwidth_adapts_down",
    "tests/simulation/test_connection.py::test_data_arrives_intact_through_a_hostile_network",
    "tests/simulation/test_early_data.py::test_early_data_arrives_whatever_else_is_chosen",
    "tests/simulation/test_fec.py::"
    "test_bulk_data_that_lost_more_than_its_repair_gets_the_rest_of_it_and_is_not_sent_again",
    "tests/simulation/test_fec.py::test_every_controller_carries_repair",
    "tests/simulation/test_fec.py::test_repair_keeps_within_the_overhead_allowed",
    "tests/simulation/test_fec.py::test_streams_both_ways_arrive_intact_through_everything",
    "tests/simulation/test_fec.py::"
    "test_the_sender_reacts_to_loss_within_a_few_round_trips_and_forgets_it_again",
    "tests/simulation/test_fec_hostile.py::test_blocks_that_are_never_finished_take_bounded_memory_and_work",
    "tests/simulation/test_hostile_peer.py::"
    "test_a_peer_that_never_acknowledges_makes_us_send_no_more_than_a_window",
    "tests/simulation/test_key_update.py::test_updates_under_loss_reordering_and_duplicates_deliver_exactly",
    "tests/simulation/test_limits.py::test_packets_are_as_large_as_both_ends_accept",
    "tests/simulation/test_messages.py::test_long_messages_come_whole_out_of_bursts",
    "tests/simulation/test_windows.py::test_a_transfer_outgrows_small_windows",
    "tests/unit/protocol/test_paths.py::test_rebinding_every_five_seconds_in_mid_transfer_delivers_exactly",
    "tests/unit/protocol/test_pmtu.py::test_a_path_whose_mtu_falls_in_mid_transfer_carries_the_transfer_on",
    "tests/unit/protocol/test_pmtu.py::"
    "test_jumbo_ends_over_an_ordinary_path_find_its_size_and_lose_only_probes",
    "tests/unit/protocol/test_repair.py::test_no_block_makes_a_longer_head_than_the_room_left_for_it",
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
    ignored += [f"--deselect={name}" for name in NOT_RUN_ALONE]
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
