"""The case suite in a kernel of virtual time with tc netem: real sockets, links that the kernel impairs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cases.suite import CASES
from tests.lanes import guest, machine

pytestmark = [pytest.mark.uml, pytest.mark.timetravel, pytest.mark.slow]

#: Real seconds for the guest, which runs all cases one after the other: boot once.
GUEST_LIMIT_SECONDS = 900.0
NAMES = [case.name for case in CASES]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    place: Path = tmp_path_factory.mktemp("cases")
    argv, environment = guest.command(
        [
            *(sys.executable, "-m", "orchestrator", "cases", *NAMES, "--backend", "netns", "-f", "json"),
            # Once each: what five runs say is told in simulation, and here they would take twice the time.
            *("--results", "/tmp/cases", "--repeat", "1"),
        ],
        limit_seconds=GUEST_LIMIT_SECONDS,
    )
    with (place / "stderr").open("w") as errors:
        done = subprocess.run(
            argv,
            env=environment,
            cwd=machine.ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
        )
    told = (place / "stderr").read_text()[-4000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"version"')]
    assert lines, done.stdout[-2000:] + told
    return {result["case"]: result for result in json.loads(lines[-1])["results"]}


@pytest.mark.parametrize("name", NAMES)
def test_the_case_passes_on_kernel_netem(name: str, results: Mapping[str, Any]) -> None:
    result = results[name]
    if result["outcome"] == "unsupported":  # a guest's kernel without TCP's BBR
        pytest.skip("; ".join(result["reasons"]))
    assert result["outcome"] == "pass", result["reasons"]
    assert result["impairment"] == "kernel"
