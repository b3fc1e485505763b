"""`make test` runs each lane once, and the table at its end is honest: what did not run never passed."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

from tests.lanes.outcome import Outcome, read_report, table
from tests.lanes.queue import Queue
from tests.lanes.table import Lane

if TYPE_CHECKING:
    from pathlib import Path

CASES = {
    "passed": '<testcase name="test_it"/>',
    "failed": '<testcase name="test_it"><failure/></testcase>',
    "error": '<testcase name="test_it"><error/></testcase>',
    "skipped": '<testcase name="test_it"><skipped message="no netem"/></testcase>',
    "interrupted": "<testcase/>",
}


def report(directory: Path, *cases: str, status: int) -> Outcome:
    """What is read from a report of such cases."""
    path = directory / "report.xml"
    inside = "".join(CASES[case] for case in cases)
    path.write_text(f"<testsuites><testsuite>{inside}</testsuite></testsuites>")
    return read_report(path, lane="unit", status=status, seconds=1.0)


def test_passed_failed_and_skipped_tests_are_counted(tmp_path: Path) -> None:
    outcome = report(tmp_path, "passed", "passed", "failed", "error", "skipped", status=1)
    assert (outcome.passed, outcome.failed, outcome.skipped.total()) == (2, 2, 1)
    assert not outcome.ok


@pytest.mark.parametrize(
    ("cases", "status", "words"),
    [
        ((), 5, "no test was collected"),
        (("skipped", "skipped"), 0, "every test was skipped: no netem"),
        (("passed",), 2, "status 2"),
        (("passed",), 124, "status 124"),
    ],
)
def test_a_lane_that_did_not_really_run_fails(
    tmp_path: Path, cases: tuple[str, ...], status: int, words: str
) -> None:
    outcome = report(tmp_path, *cases, status=status)
    assert not outcome.ok
    assert words in outcome.broken
    assert table([outcome]).splitlines()[-1].split(",")[1] == " 1 failed"


def test_a_lane_that_left_no_report_fails(tmp_path: Path) -> None:
    assert not read_report(tmp_path / "none.xml", lane="unit", status=0, seconds=0.0).ok


def test_a_test_that_was_interrupted_has_not_passed(tmp_path: Path) -> None:
    assert report(tmp_path, "passed", "interrupted", status=2).passed == 1


def test_a_report_that_was_not_written_to_its_end_is_told(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_text("<testsuites><testsuite><testcase/>")
    assert "in the middle of its report" in read_report(path, lane="unit", status=-9, seconds=1.0).broken


def test_a_lane_that_this_machine_cannot_run_is_skipped_with_its_reason() -> None:
    text = table([Outcome("docker", why_not="no Docker engine answers"), Outcome("unit", passed=3)])
    assert "cannot run here: no Docker engine answers" in text
    assert text.splitlines()[-1] == "3 passed, 0 failed, 0 skipped"


def test_each_reason_for_skipping_is_named(tmp_path: Path) -> None:
    assert "1 skipped: no netem" in table([report(tmp_path, "passed", "skipped", status=0)])


def queue_of(alone: str = "", beside: str = "", *, without_set_up: str = "") -> Queue:
    """Lanes of one letter each; those without a set-up wait for it."""
    waiting = [Lane(name, "", "", beside=name in beside) for name in alone + beside]
    set_ups: dict[str, Future[object]] = {lane.name: Future() for lane in waiting}
    for name in set_ups:
        if name not in without_set_up:
            set_ups[name].set_result(None)
    return Queue(waiting, set_ups)


def taken(queue: Queue, *, foreground: bool) -> str:
    lane = queue.take(foreground=foreground)
    return lane.name if lane is not None else ""


def test_a_lane_that_needs_the_machine_for_itself_is_never_run_beside_the_foreground() -> None:
    queue = queue_of("ab", "x")
    assert [taken(queue, foreground=False) for _ in range(3)] == ["x", "", ""]
    assert [taken(queue, foreground=True) for _ in range(3)] == ["a", "b", ""]


def test_whoever_is_free_takes_what_may_run_beside() -> None:
    queue = queue_of("a", "xyz")
    assert taken(queue, foreground=True) == "a"
    assert taken(queue, foreground=False) == "x"
    assert taken(queue, foreground=True) == "y"
    assert taken(queue, foreground=False) == "z"
    assert taken(queue, foreground=True) == ""


def test_a_lane_whose_set_up_is_under_way_lets_others_go_before_it() -> None:
    queue = queue_of("ab", "xy", without_set_up="ax")
    assert [taken(queue, foreground=True) for _ in range(3)] == ["b", "a", "y"]
    assert taken(queue, foreground=False) == "x"
