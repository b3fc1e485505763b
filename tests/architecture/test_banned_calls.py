"""No clock, no chance, no printing where they do not belong: ruff's rules hold, and fail when they should."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT

RUFF = Path(sys.executable).parent / "ruff"


def complaints(path: str, text: str) -> str:
    """What ruff says about a file of this content at this place."""
    argv = [str(RUFF), "check", "--no-cache", "--output-format", "concise", "--stdin-filename", path, "-"]
    return subprocess.run(argv, cwd=ROOT, input=text, capture_output=True, text=True, check=False).stdout


PURE_PLACES = [
    "node/protocol/spoilt.py",
    "node/workloads/spoilt.py",
    "node/core.py",
    "node/links/spoilt.py",
    "orchestrator/topology/spoilt.py",
    "orchestrator/tc/spoilt.py",
    "orchestrator/simulation/spoilt.py",
]


@pytest.mark.parametrize("place", PURE_PLACES)
@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("time", "time.monotonic()"),
        ("time", "time.monotonic_ns()"),
        ("time", "time.time()"),
        ("time", "time.perf_counter_ns()"),
        ("os", "os.urandom(8)"),
        ("random", "random.random()"),
        ("random", "random.randbytes(8)"),
        ("datetime", "datetime.datetime.now()"),
    ],
)
def test_pure_code_that_reads_a_clock_or_draws_lots_is_refused(place: str, module: str, call: str) -> None:
    assert "TID251" in complaints(place, f'"""Spoilt."""\n\nimport {module}\n\nNOW = {call}\n')


def test_a_clock_imported_by_name_is_refused() -> None:
    text = '"""Spoilt."""\n\nfrom time import monotonic_ns\n\nNOW = monotonic_ns()\n'
    assert "TID251" in complaints("node/protocol/spoilt.py", text)


def test_drivers_may_read_the_clock() -> None:
    text = '"""Fine."""\n\nimport time\n\nNOW = time.monotonic_ns()\n'
    assert "TID251" not in complaints("node/agent/fine.py", text)


def test_an_argument_of_type_random_is_fine_in_pure_code() -> None:
    text = '"""Fine."""\n\nfrom random import Random\n\n\n'
    text += "def draw(rng: Random) -> float:\n    return rng.random()\n"
    assert complaints("node/protocol/fine.py", text).strip() in {"", "All checks passed!"}


@pytest.mark.parametrize(
    ("place", "refused"), [("orchestrator/results.py", True), ("orchestrator/cli/x.py", False)]
)
def test_only_the_command_line_prints(place: str, refused: bool) -> None:
    assert ("T201" in complaints(place, '"""Spoilt."""\n\nprint("hello")\n')) is refused
