"""Statements and branches of the transport that tests run: never fewer than are fixed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.coverage.measure import NOT_RUN_ALONE, SHARES, Coverage, command, measure, read
from tests.lanes.machine import ROOT

#: Per cent. Raise them when the measured numbers rise; never lower them.
MINIMUM_STATEMENTS, MINIMUM_BRANCHES = 98.5, 96.0

REPORT = {
    "totals": {"covered_lines": 9, "num_statements": 10, "covered_branches": 3, "num_branches": 4},
    "files": {
        "whole.py": {"missing_lines": [], "missing_branches": []},
        "part.py": {"missing_lines": [7], "missing_branches": [[6, 7], [9, -5]]},
    },
}


def shortfall(found: Coverage) -> str:
    """Return what is less than fixed, in words; empty: nothing."""
    short = []
    if found.statements < MINIMUM_STATEMENTS:
        short.append(f"statements {found.statements:.2f} % < {MINIMUM_STATEMENTS} %")
    if found.branches < MINIMUM_BRANCHES:
        short.append(f"branches {found.branches:.2f} % < {MINIMUM_BRANCHES} %")
    return ", ".join(short)


@pytest.mark.slow
def test_the_tests_run_at_least_the_fixed_part_of_the_transport(tmp_path: Path) -> None:
    found = measure(tmp_path)
    assert not shortfall(found), f"{shortfall(found)}\n{found}"


# the check can fail


def test_what_no_test_runs_is_read_from_the_report() -> None:
    found = read(REPORT)
    assert found == Coverage(90.0, 75.0, {"part.py": "lines 7; branches 6->7, 9->-5"})
    assert shortfall(found) == "statements 90.00 % < 98.5 %, branches 75.00 % < 96.0 %"
    assert str(found).splitlines()[0] == "part.py: lines 7; branches 6->7, 9->-5"


def test_the_minimum_itself_is_enough() -> None:
    assert shortfall(Coverage(MINIMUM_STATEMENTS, MINIMUM_BRANCHES, {})) == ""
    assert shortfall(Coverage(MINIMUM_STATEMENTS, MINIMUM_BRANCHES - 0.01, {}))
    assert shortfall(Coverage(MINIMUM_STATEMENTS - 0.01, MINIMUM_BRANCHES, {}))


def test_every_path_that_is_measured_is_there() -> None:
    """A pattern that matches nothing would measure less, and nobody would see it."""
    for number in (0, 1):
        paths = [word for word in command(number) if word.startswith("tests/")]
        assert len(paths) >= len(SHARES[number])
        assert all(Path(path).exists() for path in paths)


def test_every_test_that_is_left_out_is_there() -> None:
    for name in NOT_RUN_ALONE:
        file, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text(), name
