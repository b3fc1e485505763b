"""Recorded fates: what a link did to each packet is read from its capture, and done again."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.links.fates import GivenCopy
from orchestrator.cli.main import main
from orchestrator.errors import TestbedError
from orchestrator.experiment.replay import Recording, replay
from orchestrator.experiment.runner import run
from orchestrator.results import RunResult
from orchestrator.topology.load import load
from orchestrator.topology.model import LinkEndpoint

#: A link that does everything to packets: slow, lossy, and out of order.
LAB = """
name: recorded
seed: 11
time-limit: 60s
topology:
  nodes: {a: {kind: host}, r: {kind: router}, b: {kind: host}}
  links:
    - endpoints: ["a:eth1", "r:eth1"]
      netem: {delay: 8ms, jitter: 3ms, loss: 2%, duplicate: 1%, corrupt: 1%, reorder: 1%}
    - endpoints: ["r:eth2", "b:eth1"]
      netem: {delay: 2ms, rate: 8Mbit, queue: 20p, ecn: true, ce-threshold: 4ms}
workloads:
  file: {kind: bulk, from: a, to: b, size: 600kB}
  back: {kind: echo, from: b, to: a, size: 64B, count: 20, interval: 20ms}
expect:
  - integrity == ok
  - file: rtt min >= 10ms
  - file: rtt p90 <= 300ms
  - wire violations == 0
"""
A, B = LinkEndpoint("a", "eth1"), LinkEndpoint("r", "eth2")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    place = tmp_path_factory.mktemp("recorded")
    (place / "recorded.lab.yml").write_text(LAB)
    result = asyncio.run(run(load(place / "recorded.lab.yml"), "simulation", directory=place / "results"))
    assert result.verdict.value == "PASS", result.reasons
    return result


@pytest.fixture(scope="module")
def recording(original: RunResult) -> Recording:
    return Recording.of_run(original.directory)


def figures(result: RunResult) -> list[tuple[object, ...]]:
    """What two runs that are one have in common."""
    flows = [(flow.name, flow.seconds, flow.packets_sent, flow.packets_lost) for flow in result.flows]
    return [*flows, *((link.sender, link.frames_in, link.frames_out) for link in result.links)]


def test_the_fates_are_those_that_the_link_counted(original: RunResult, recording: Recording) -> None:
    fates = recording.fates[A]
    link = next(link for link in original.links if link.sender == str(A))
    copies = [copy for fate in fates if fate for copy in fate]
    assert len(fates) == link.frames_in
    assert sum(fate == () for fate in fates) > 0
    assert sum(len(fate) > 1 for fate in fates if fate) > 0
    assert sum(copy.corrupt_bit is not None for copy in copies) > 0
    assert sum(copy.overtakes for copy in copies) > 0
    assert len(copies) == original_exits(original, A)
    assert all(copy.delay <= 11_100_000 for copy in copies)
    bottleneck = [copy for fate in recording.fates[B] if fate for copy in fate]
    assert sum(copy.marked for copy in bottleneck) > 0
    # 1466 bytes and more at 8 Mbit/s: what had to wait is at least so far behind the packet before it.
    spaced = [copy.spacing for copy in bottleneck if copy.spacing]
    assert max(spaced) >= 1_400_000


def original_exits(result: RunResult, end: LinkEndpoint) -> int:
    """Frames that left, damaged ones included, which the report does not count as frames of ours."""
    from node.capture.pcapng import Capture, Direction
    from orchestrator.experiment.kept import find_run

    run_kept = find_run(result.directory)
    link = next(link for link in run_kept.plan.links if end in (link.a, link.b))
    outgoing = 1 if end == link.a else 0
    return sum(
        frame.direction == Direction.OUTBOUND and frame.interface == outgoing
        for path in run_kept.collected.captures[link.name]
        for frame in Capture.open(path)
    )


def test_a_replayed_simulation_is_the_run_itself(
    original: RunResult, recording: Recording, tmp_path: Path
) -> None:
    again = asyncio.run(replay(recording, directory=tmp_path))
    assert figures(again) == figures(original)
    assert Recording.of_run(again.directory).fates == recording.fates


def test_what_was_recorded_and_not_chance_decides(recording: Recording, tmp_path: Path) -> None:
    """Another seed: other keys and other chance of the nodes, but the links do what they did."""
    first = asyncio.run(replay(recording, directory=tmp_path, seed=1))
    second = asyncio.run(replay(recording, directory=tmp_path, seed=1))
    assert figures(first) == figures(second)
    # The first packets of both are set-up packets and the first flight: as lost as they were.
    lost = [
        [fate == () for fate in Recording.of_run(found.directory).fates[A][:40]] for found in (first, second)
    ]
    assert lost[0] == lost[1] == [fate == () for fate in recording.fates[A][:40]]


def test_a_first_packet_that_was_lost_is_lost_again(recording: Recording, tmp_path: Path) -> None:
    fates = dict(recording.fates)
    fates[A] = [(), *[(GivenCopy(5_000_000),)] * (len(fates[A]) - 1)]
    result = asyncio.run(replay(Recording(recording.plan, fates), directory=tmp_path))
    # INITIATION is repeated after a second (SPEC 3-3).
    assert next(flow.seconds for flow in result.flows if flow.name == "file") > 1
    assert any("the rest met the plan's link" in note or "recorded" in note for note in result.notes)


def test_a_recording_survives_its_file(recording: Recording, original: RunResult, tmp_path: Path) -> None:
    saved = tmp_path / "fates.json"
    done = CliRunner().invoke(main, ["replay", str(original.directory), "--save", str(saved)])
    assert done.exit_code == 0, done.output
    assert "packets on 4 ways" in done.stdout
    assert Recording.read(saved) == recording
    done = CliRunner().invoke(main, ["replay", str(saved), "--results", str(tmp_path / "r"), "-f", "json"])
    assert json.loads(done.stdout)["flows"]["file"]["seconds"] == next(
        flow.seconds for flow in original.flows if flow.name == "file"
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{}", "not a recording"),
        ("[1]", "not a recording"),
        ("no json", "not a recording"),
        ('{"version": 7}', "version 7, this narrows reads 1"),
        ('{"version": 1, "plan": {}, "fates": {}}', "not a plan"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(text: str, found: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(TestbedError, match=found):
        Recording.read(path)


def test_a_run_that_was_not_captured_cannot_be_recorded(original: RunResult, tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    told = json.loads((original.directory / "run.json").read_text())
    told["captures"] = {}
    (place / "run.json").write_text(json.dumps(told))
    with pytest.raises(TestbedError, match=r"link a:eth1--r:eth1 was not captured"):
        Recording.of_run(place)


def test_packets_sent_closer_together_keep_order_and_rate() -> None:
    from random import Random

    from node.links.model import LinkModel
    from node.links.settings import NONE

    fates = {1: (GivenCopy(50),), 2: (GivenCopy(40, spacing=7),), 3: (GivenCopy(10, overtakes=True),)}
    model = LinkModel(NONE, Random(1), fates=fates.get)
    assert [copy.at for _ in range(4) for copy in model.enqueue(100, 0)] == [50, 57, 10, 57]
    assert model.counters().reordered == 1
    assert dataclasses.replace(model.counters(), reordered=0).delivered == 4


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([-5], "delay: found -5, must be a whole number from 0 to 600000000000 (ns)"),
        ([float("nan")], "delay: found nan"),
        ([600_000_000_001], "delay: found 600000000001"),
        ([10**400], "delay: found 1000"),
        ([1.5], "delay: found 1.5"),
        ([True], "delay: found True"),
        ([[5, {"spacing": -1}]], "spacing: found -1"),
        ([[5, {"corrupt_bit": 524_392}]], "corrupt_bit: found 524392"),
        ([[5, {"marked": 1}]], "marked: found 1, must be true or false"),
        ([[5, {"lost": True}]], "must be an object with corrupt_bit"),
        ([0] * 17, "at most 16 copies"),
        ("late", "must be null or a list"),
    ],
)
def test_a_fate_that_cannot_be_is_refused_with_its_line(
    recording: Recording, tmp_path: Path, bad: object, said: str
) -> None:
    saved = tmp_path / "fates.json"
    recording.write(saved)
    lines = saved.read_text().splitlines()
    line = next(number for number, text in enumerate(lines) if text.startswith(f'"{B}":')) + 7
    lines[line] = json.dumps(bad) + ","
    saved.write_text("\n".join(lines))
    with pytest.raises(TestbedError) as caught:
        Recording.read(saved)
    assert str(caught.value).startswith(f"{saved}:{line + 1}: {B}, packet 8: ")
    assert said in str(caught.value)


def test_the_longest_delay_of_a_fate_is_taken(recording: Recording, tmp_path: Path) -> None:
    saved = tmp_path / "fates.json"
    fates = {**recording.fates, B: [(GivenCopy(600_000_000_000, corrupt_bit=524_391),)]}
    Recording(recording.plan, fates).write(saved)
    assert Recording.read(saved).fates[B] == fates[B]
