"""JUnit XML holds what failed, whatever bytes are in it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from orchestrator.junit import junit
from orchestrator.results import ExpectationResult
from tests.support.results import flow, run_result


def test_each_thing_that_could_fail_is_a_case() -> None:
    missed = ExpectationResult("goodput >= 5Mbit", "film", passed=False, measured=4e6, shown="4Mbit")
    run = run_result(
        flow(), flow(name="news", completed=False, error="b: \x00 & <broken>"), expectations=(missed,)
    )
    root = ET.fromstring(junit([run]))
    (suite,) = root
    assert (suite.get("tests"), suite.get("failures")) == ("4", "2")
    told = {
        case.get("name"): case.find("failure")
        for case in suite.iter("testcase")
        if case.find("failure") is not None
    }
    assert {name: failure.get("message") for name, failure in told.items() if failure is not None} == {
        "completes": "b: \N{REPLACEMENT CHARACTER} & <broken>",
        "goodput >= 5Mbit": "expected goodput >= 5Mbit, found 4Mbit",
    }


def test_failures_of_the_run_are_one_case() -> None:
    root = ET.fromstring(junit([run_result(failures=("node a failed", "node b failed"))]))
    (failure,) = root.iter("failure")
    assert failure.text == "node a failed\nnode b failed"
