"""What a lane did: counts read from pytest's own report, and the table of all lanes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(slots=True)
class Outcome:
    """The result of one lane."""

    lane: str
    passed: int = 0
    failed: int = 0
    #: Reason → how many tests were skipped for it.
    skipped: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    #: Why this machine cannot run the lane at all.
    why_not: str = ""
    #: Why the lane as a whole failed, beyond failed tests.
    broken: str = ""

    @property
    def ok(self) -> bool:
        """Did all that this machine can run pass?"""
        return not self.failed and not self.broken


def read_report(report: Path, *, lane: str, status: int, seconds: float) -> Outcome:
    """Counts from a JUnit report; a lane that should have run and did not is broken, not passed."""
    outcome = Outcome(lane, seconds=seconds)
    if not report.exists():
        outcome.broken = f"pytest ended with status {status} and left no report"
        return outcome
    try:
        cases = ET.parse(report).iter("testcase")
    except ET.ParseError as error:
        outcome.broken = f"pytest ended with status {status} in the middle of its report: {error}"
        return outcome
    for case in cases:
        if case.get("name") is None:  # It was interrupted: pytest names it at its end.
            continue
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        elif (skipped := case.find("skipped")) is not None:
            outcome.skipped[skipped.get("message", "no reason given")] += 1
        else:
            outcome.passed += 1
    if status == 5 or not (outcome.passed or outcome.failed or outcome.skipped):
        outcome.broken = "no test was collected"
    elif not outcome.passed and not outcome.failed:
        outcome.broken = "every test was skipped: " + "; ".join(outcome.skipped)
    elif status not in {0, 1}:
        outcome.broken = f"pytest ended with status {status}"
    elif status == 1 and not outcome.failed:
        outcome.broken = "pytest reports failures outside tests"
    return outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """All lanes as text; the last line is the sum: ``N passed, N failed, N skipped``."""
    lines = ["", f"{'lane':14}{'result':9}{'passed':>7}{'failed':>7}{'skipped':>8}{'seconds':>9}"]
    for one in outcomes:
        result = "skipped" if one.why_not else "ok" if one.ok else "FAILED"
        if not one.why_not:
            counts = f"{one.passed:7}{one.failed:7}{one.skipped.total():8}{one.seconds:9.1f}"
            lines.append(f"{one.lane:14}{result:9}{counts}")
        else:
            lines.append(f"{one.lane:14}{result}")
            lines.append(f"{'':14}cannot run here: {one.why_not}")
        if one.broken:
            lines.append(f"{'':14}{one.broken}")
        lines += [f"{'':14}{count} skipped: {reason}" for reason, count in one.skipped.items()]
    passed = sum(one.passed for one in outcomes)
    failed = sum(one.failed + bool(one.broken) for one in outcomes)
    skipped = sum(one.skipped.total() for one in outcomes)
    return "\n".join([*lines, "", f"{passed} passed, {failed} failed, {skipped} skipped"])
