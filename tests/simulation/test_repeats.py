"""`narrows run` several times, and what programs read of it: JSON, JUnit XML, events."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.command import narrows
from tests.support.experiments import LINE

_LAB = (
    LINE.replace("rate: 10Mbit", "rate: 10Mbit, loss: 1%")
    + """
seed: 7
repeats: 3
workloads:
  film: {kind: bulk, from: a, to: b, size: 100kB}
timeline:
  - {at: 10ms, set: {link: "r:eth2", netem: {delay: 6ms}}, for: 10ms}
expect:
  - integrity == ok
  - film: median(completion) <= 10s
  - film: mean(goodput) >= 1Mbit
  - mean(queue drops(a:eth1)) <= 100
"""
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "lab.lab.yml"
    made.write_text(_LAB)
    return made


def test_statistics_over_seeds_and_files_for_programs(file: Path, tmp_path: Path) -> None:
    junit, events = tmp_path / "junit.xml", tmp_path / "events.jsonl"
    options = ("--backend", "simulation", "--results", tmp_path / "results", "-f", "json")
    ended = narrows("run", file, *options, "--junit", junit, "--events", events)
    result = ended.json()
    assert ended.code == 0, result["reasons"]
    assert [run["seed"] for run in result["runs"]] == [7, 8, 9]
    assert (result["repeats"], result["passed"]) == (3, 3)
    goodput = next(found for found in result["statistics"] if found["quantity"] == "goodput")
    assert goodput["low"] < goodput["mean"] < goodput["high"]
    assert goodput["median"] == sorted(goodput["values"])[1]
    median, mean, drops = result["expectations"]
    assert (median["expectation"], median["passed"]) == ("median(completion) <= 10s", True)
    assert re.fullmatch(r"\S+Mbit \(95% interval of 3 runs: \S+Mbit to \S+Mbit\)", mean["shown"])
    # Links count, though no run is judged by it alone.
    assert (drops["passed"], drops["measured"]) == (True, 0)
    kept = json.loads((Path(result["directory"]) / "repeats.json").read_text())
    assert kept == result
    for run in result["runs"]:
        assert (Path(run["directory"]) / "result.json").is_file()
    # Of programs' files.
    suites = ET.parse(junit).getroot()
    assert [suite.get("name") for suite in suites] == [
        *("line seed 7", "line seed 8", "line seed 9"),
        "all runs",
    ]
    assert (suites.get("tests"), suites.get("failures")) == ("12", "0")
    told = [json.loads(line) for line in events.read_text().splitlines()]
    names = [event["event"] for event in told]
    assert names.count("run_started") == names.count("verdict") == 3
    assert names[-1] == "verdict_of_all"
    assert [event["phase"] for event in told if event["event"] == "timeline"] == ["begins", "ends"] * 3


def test_a_run_that_fails_fails_all_and_its_seed_is_told(file: Path, tmp_path: Path) -> None:
    file.write_text(_LAB.replace("median(completion) <= 10s", "min(completion) <= 1ms"))
    options = ("--backend", "simulation", "--results", tmp_path / "results", "-f", "json")
    ended = narrows("run", file, *options, "--repeat", "2", "--junit", tmp_path / "junit.xml")
    assert ended.code == 1
    (reason,) = ended.json()["reasons"]
    assert reason.startswith("film: expected min(completion) <= 1ms, found ")
    suites = ET.parse(tmp_path / "junit.xml").getroot()
    (failure,) = suites.iter("failure")
    assert failure.get("message") == reason.removeprefix("film: ")


def test_events_on_stdout_are_alone_there(file: Path, tmp_path: Path) -> None:
    options = ("--backend", "simulation", "--results", tmp_path / "results")
    ended = narrows("run", file, *options, "--repeat", "1", "--calibrate", "warn", "--events", "-")
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    assert told[0]["event"] == "run_started"
    assert told[-1]["event"] == "verdict"
    assert told[-1]["verdict"] == "PASS"
    assert {event["event"] for event in told} >= {"phase", "calibration", "flow", "timeline"}
    assert all({"event", "at", "run_id", "seconds"} <= event.keys() for event in told)


def test_what_cannot_be_is_refused(file: Path, tmp_path: Path) -> None:
    assert narrows("run", file, "--keep").code == 2
    ended = narrows("run", file, "--backend", "simulation", "--events", tmp_path / "nowhere" / "events")
    assert ended.code == 2
    assert "No such file" in ended.stderr
    results = tmp_path / "results"
    junit = ("--junit", tmp_path / "nowhere" / "junit.xml", "--results", results)
    ended = narrows("run", file, "--backend", "simulation", *junit)
    assert ended.code == 2
    assert f"there is no directory {tmp_path / 'nowhere'}" in ended.stderr
    assert not results.exists()


def test_what_only_captures_tell_of_all_runs_is_not_judged_without_them(file: Path, tmp_path: Path) -> None:
    text = "mean(link loss(a:eth1)) <= 90%"
    file.write_text(_LAB + f"  - {text}\n  - max(handshakes) == 1\n")
    options = ("--backend", "simulation", "--results", tmp_path / "results", "--no-capture", "-f", "json")
    told = narrows("run", file, *options).json()
    assert (told["verdict"], told["reasons"]) == ("PASS", [])
    assert text not in [found["expectation"] for found in told["expectations"]]
    wanted = [f"{each}: not judged, since nothing was captured" for each in (text, "max(handshakes) == 1")]
    assert told["notes"] == wanted
    (cell,) = narrows("matrix", file, *options).json()["cells"]
    assert cell["letter"] == "P", cell["reasons"]
    assert [run["notes"] for run in cell["runs"]] == [wanted] * 3
    assert [len(run["together"]) for run in cell["runs"]] == [3] * 3
