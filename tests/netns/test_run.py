"""`narrows run` and its sisters over real packets: whatever happens, a verdict, and nothing left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from orchestrator.experiment.replay import Recording
from orchestrator.pytest_plugin import Lab
from orchestrator.results import RunResult
from orchestrator.topology.model import LinkEndpoint
from tests.netns.labs import left_over
from tests.support import qvis
from tests.support.command import ROOT, await_line, narrows, started

LINE = ROOT / "topologies" / "line.lab.yml"
pytestmark = [
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.topology(str(LINE)),
    pytest.mark.backends("netns"),
]
#: A flow that takes far longer than any test waits, so that there is time to disturb it.
LONG = """
name: long
time-limit: 200s
topology:
  nodes: {a: {}, r: {kind: router}, b: {}}
  links:
    - endpoints: ["a:eth1", "r:eth1"]
      netem: {delay: 2ms}
    - endpoints: ["r:eth2", "b:eth1"]
      netem: {delay: 2ms, rate: 2Mbit, queue: 50p}
workloads:
  - {name: film, kind: bulk, from: a, to: b, size: 100MB}
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NARROWS_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def long(tmp_path: Path) -> Path:
    path = tmp_path / "long.lab.yml"
    path.write_text(LONG)
    return path


def run_id_in(results: Path) -> str:
    (directory,) = results.iterdir()
    return directory.name.rpartition("-")[2]


def agents_of(run_id: str) -> list[int]:
    """Return the processes of a run's agents."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended since
        if b"node" in words and any(run_id.encode() in word for word in words):
            found.append(int(path.parent.name))
    return sorted(found)


def test_line_passes_with_the_wire_checked(tmp_path: Path) -> None:
    ended = narrows("run", LINE, "--backend", "netns", "--results", tmp_path / "results", "-f", "json")
    result = ended.json()
    assert result["verdict"] == "PASS", result["reasons"]
    assert ended.code == 0
    assert result["backend"] == "netns"
    assert result["impairment"] in ("kernel", "userspace")
    assert result["wire"]["frames"] > 3000
    assert result["wire"]["violations"] == 0
    assert result["flows"]["file"]["intact"]
    assert left_over(result["run_id"]) == []


@pytest.fixture(scope="module")
def result(module_lab: Lab) -> RunResult:
    """A run whose files serve several tests."""
    return module_lab.passes()


def test_both_ends_of_a_flow_are_traced_when_asked(result: RunResult) -> None:
    client, server = (
        qvis.load(next(result.directory.glob(f"qlog/{node}/[0-9a-f]*.sqlog"))) for node in ("left", "right")
    )
    assert (client.vantage_point, server.vantage_point) == ("client", "server")
    assert qvis.matched(client, server)[0] > 3000


def test_node_that_crashes_gives_fail_with_the_reason(tmp_path: Path, long: Path) -> None:
    results = tmp_path / "results"
    with started("run", long, "--backend", "netns", "--results", results, "--no-capture") as process:
        await_line(process, "film: a → b")
        run_id = run_id_in(results)
        os.kill(agents_of(run_id)[-1], signal.SIGKILL)
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "node b failed" in stdout or "node a failed" in stdout
    assert "FAIL  long on netns" in stdout
    assert left_over(run_id) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupted_run_is_130_and_leaves_nothing(
    number: signal.Signals, tmp_path: Path, long: Path
) -> None:
    results = tmp_path / "results"
    with started("run", long, "--backend", "netns", "--results", results) as process:
        await_line(process, "film: a → b")
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert left_over(run_id_in(results)) == []


def test_a_run_that_is_told_to_end_twice_leaves_nothing(tmp_path: Path, long: Path) -> None:
    """timeout(1) hands SIGTERM on to its child and to its group: the child may have it twice."""
    results = tmp_path / "results"
    with started("run", long, "--backend", "netns", "--results", results) as process:
        await_line(process, "film: a → b")
        process.send_signal(signal.SIGTERM)
        await_line(process, "interrupted: removing the lab")
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "ended at once" not in stderr
    assert left_over(run_id_in(results)) == []


def test_killed_run_is_removed_from_its_journal(tmp_path: Path, long: Path) -> None:
    results = tmp_path / "results"
    with started("run", long, "--backend", "netns", "--results", results) as process:
        await_line(process, "film: a → b")
        process.kill()
        process.wait()
    long.unlink()
    ended = narrows("destroy", "--all", "-f", "json")
    assert ended.code == 0
    assert ended.json() == {"removed": [run_id_in(results)], "in_use": []}
    assert left_over(run_id_in(results)) == []


def test_lab_that_was_deployed_can_be_seen_changed_entered_and_removed(tmp_path: Path) -> None:
    up = narrows("deploy", LINE, "--backend", "netns", "--results", tmp_path, "-f", "json").json()
    try:
        seen = narrows("inspect", up["run_id"], "-f", "json").json()
        assert {node["name"]: node["state"] for node in seen["nodes"]} == {
            "left": "running",
            "r1": "forwarding",
            "r2": "forwarding",
            "right": "running",
        }
        changed = narrows("netem", "set", "r1:eth2", "delay=50ms", "-f", "json").json()
        assert changed["impairments"] == {"delay": "50ms", "rate": "20Mbit", "queue": "60p"}
        shown = narrows("netem", "show", "r1:eth2", "-f", "json").json()["links"]
        assert {way["from"]: way["impairments"]["delay"] for way in shown} == {
            "r1:eth2": "50ms",
            "r2:eth1": "10ms",
        }
        assert narrows("exec", "left", "ip", "-br", "addr").stdout.count("10.0.0.1/30") == 1
        assert narrows("exec", "left", "sh", "-c", "exit 7").code == 7
        assert narrows("exec", "nobody", "true").code == 2
        assert narrows("netem", "set", "r1:eth2", "delay=5").code == 2
    finally:
        removed = narrows("destroy", up["run_id"])
    assert removed.code == 0
    assert left_over(up["run_id"]) == []
    assert narrows("inspect", up["run_id"]).code == 4


def test_a_run_on_real_packets_can_be_replayed(result: RunResult, tmp_path: Path) -> None:
    """What became of each packet there becomes of it in the simulator, and as often as one likes."""
    recording = Recording.of_run(result.directory)
    again, once_more = (
        narrows("replay", result.directory, "--results", tmp_path / name, "-f", "json").json()
        for name in ("again", "once more")
    )
    assert again["flows"]["file"]["seconds"] == once_more["flows"]["file"]["seconds"]
    assert again["flows"]["file"]["intact"]
    assert again["wire"]["violations"] == 0
    replayed = Recording.of_run(Path(again["directory"]))
    bottleneck = LinkEndpoint("r1", "eth2")
    lost, lost_again = (
        [number for number, fate in enumerate(one.fates[bottleneck]) if fate == ()]
        for one in (recording, replayed)
    )
    common = min(len(recording.fates[bottleneck]), len(replayed.fates[bottleneck])) - 200
    assert lost
    assert [number for number in lost if number < common] == [
        number for number in lost_again if number < common
    ]
