"""What can be made of a run's captures: opened ones, and message sequence diagrams."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from node.capture.pcapng import Capture
from node.dissectors.protection import TagError
from node.dissectors.scapy_layer import Data, Early, Frame, MalformedError, Sealed, Stream, unprotect
from orchestrator.cli.main import main
from orchestrator.experiment.kept import RUN_FILE, find_run
from orchestrator.experiment.runner import run
from orchestrator.results import RunResult
from orchestrator.topology.load import load

LAB = """
name: opened
seed: 5
time-limit: 30s
topology:
  nodes: {a: {kind: host}, r: {kind: router}, b: {kind: host}}
  links:
    - {endpoints: ["a:eth1", "r:eth1"], netem: {delay: 5ms, rate: 20Mbit}}
    - {endpoints: ["r:eth2", "b:eth1"], netem: {delay: 5ms, loss: 3%}}
workloads:
  first: {kind: bulk, from: a, to: b, size: 40kB, transport: {early-data: true}}
  again: {kind: bulk, from: a, to: b, size: 20kB, start: 2s, transport: {early-data: true}}
  plain: {kind: bulk, from: b, to: a, size: 20kB, transport: {integrity: xor}}
  news: {kind: datagrams, from: a, to: b, size: 3kB, count: 4, interval: 10ms}
expect:
  - wire violations == 0
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    place = tmp_path_factory.mktemp("tools")
    (place / "opened.lab.yml").write_text(LAB)
    topology = load(str(place / "opened.lab.yml"))
    return asyncio.run(run(topology, "simulation", directory=place / "results"))


def narrows(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="narrows")


def test_the_run_tells_what_it_was_made_of(result: RunResult) -> None:
    kept = find_run(result.directory)
    assert [node.name for node in kept.plan.nodes] == ["a", "r", "b"]
    assert set(kept.collected.captures) == {link.name for link in kept.plan.links}
    assert all(path.exists() for paths in kept.collected.captures.values() for path in paths)
    assert all(path.exists() for path in kept.collected.key_logs)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, "give the directory of a run"),
        ("{", "not what narrows run writes"),
        ("[]", "not what narrows run writes"),
        ('{"version": 9}', "version 9"),
        ('{"version": 1, "captures": {}, "key_logs": [], "plan": {"name": "x"}}', "not a plan"),
    ],
)
def test_a_directory_that_is_no_run_is_refused(text: str | None, found: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / RUN_FILE).write_text(text)
    for verb in (["pcap", "decrypt"], ["sequence"]):
        refused = narrows(*verb, tmp_path)
        assert refused.exit_code != 0
        assert found in refused.stderr, refused.stderr


def copied(result: RunResult, tmp_path: Path) -> Path:
    return Path(shutil.copytree(result.directory, tmp_path / "copied"))


def test_captures_that_are_gone_or_cut_off_are_said_to_be(result: RunResult, tmp_path: Path) -> None:
    run_directory = copied(result, tmp_path)
    assert narrows("pcap", "decrypt", run_directory).exit_code == 0
    first, *_ = sorted(run_directory.glob("*.pcapng"))
    first.write_bytes(first.read_bytes()[:-5])
    cut = narrows("pcap", "decrypt", run_directory)
    assert "the capture is cut off at offset" in cut.stdout
    first.unlink()
    # What was written before is there and is not what is read.
    gone = narrows("pcap", "decrypt", run_directory)
    assert (gone.exit_code, first.name in gone.stderr) == (1, True), gone.stderr
    assert "No such file" in gone.stderr


def test_bytes_that_are_no_text_are_not_shown(result: RunResult, tmp_path: Path) -> None:
    run_directory = copied(result, tmp_path)
    for log in run_directory.glob("*.keylog"):
        log.write_bytes(b"\xfb" * 3000)
    assert "is not text: byte 0xfb" in narrows("pcap", "decrypt", run_directory).stderr
    (run_directory / RUN_FILE).write_bytes(b"\xfb" * 3000)
    for verb in (["pcap", "decrypt"], ["sequence"], ["replay"]):
        refused = narrows(*verb, run_directory)
        assert "not what narrows run writes (not UTF-8)" in refused.stderr
        assert len(refused.stderr) < 300


def test_every_packet_is_opened_and_says_what_is_in_it(result: RunResult, tmp_path: Path) -> None:
    done = narrows("pcap", "decrypt", result.directory, "-o", tmp_path / "clear")
    assert done.exit_code == 0, done.output
    assert "that no key opens" not in done.stdout
    kinds: set[str] = set()
    for path in sorted((tmp_path / "clear").iterdir()):
        for frame in Capture.open(path):
            packet = Ether(bytes(frame.data))
            checked = Ether(bytes(frame.data))
            del checked[IP].chksum, checked[UDP].chksum, checked[IP].len, checked[UDP].len
            assert bytes(checked) == bytes(packet)
            if Data in packet or Early in packet:
                kinds.add(type(packet[UDP].payload).__name__)
                assert _frames(packet), packet
            elif Sealed in packet:
                kinds.add("Sealed")
    assert kinds == {"Data", "Early", "Sealed"}


def _frames(packet: Ether) -> list[Frame]:
    """The frames of an opened packet, under whichever check it has."""
    for profile in ("crc32c", "xor"):
        try:
            return list(unprotect(packet[UDP].payload, profile).frames)
        except (TagError, MalformedError):
            continue
    return []


def test_the_data_that_arrived_is_in_the_opened_capture(result: RunResult, tmp_path: Path) -> None:
    narrows("pcap", "decrypt", result.directory, "-o", tmp_path)
    (path,) = tmp_path.glob("a*eth1*")
    wanted = (result.directory / "received" / "b" / "first").read_bytes()
    pieces: dict[int, bytes] = {}
    for frame in Capture.open(path):
        packet = Ether(bytes(frame.data))
        if packet[IP].dst == "10.0.0.6" and Data in packet:
            for found in _frames(packet):
                if isinstance(found, Stream):
                    pieces[found.offset] = bytes(found.data)
    # Somewhere in the streams, behind the header of the flow.
    whole = b"".join(pieces[offset] for offset in sorted(pieces))
    assert wanted[2000:4000] in whole


def test_comments_say_what_is_in_a_packet_and_what_is_wrong_with_it(
    result: RunResult, tmp_path: Path
) -> None:
    told = json.loads((result.directory / "result.json").read_text())
    link = find_run(result.directory).plan.links[0].name
    told["wire"]["details"] = [f"{link} frame 3: SPEC 4-1: a number twice; expected a new one"]
    broken = tmp_path / "run"
    broken.mkdir()
    (broken / "result.json").write_text(json.dumps(told))
    run_file = json.loads((result.directory / RUN_FILE).read_text())
    for paths in [*run_file["captures"].values(), run_file["key_logs"]]:
        paths[:] = [str(result.directory / name) for name in paths]
    (broken / RUN_FILE).write_text(json.dumps(run_file))
    assert narrows("pcap", "decrypt", broken).exit_code == 0
    data = next((broken / "clear").glob("a*")).read_bytes()
    assert b"SPEC 4-1: a number twice; expected a new one" in data
    assert b"early packet 0 of the initiator of " in data
    assert b"fragment 2 of 3, 1135 bytes" in data


def test_one_capture_is_opened_with_the_keys_that_are_given(result: RunResult, tmp_path: Path) -> None:
    kept = find_run(result.directory)
    (capture,) = kept.collected.captures[kept.plan.links[0].name]
    keys = [argument for path in kept.collected.key_logs for argument in ("-k", path)]
    out = tmp_path / "out.pcapng"
    done = narrows("pcap", "decrypt", capture, *keys, "-o", out)
    assert done.exit_code == 0, done.output
    assert out.exists()
    assert "without keys" in narrows("pcap", "decrypt", capture, "-o", out).stderr
    assert "is what is read" in narrows("pcap", "decrypt", capture, *keys, "-o", capture).stderr
    (tmp_path / "empty.keylog").write_text("")
    refused = narrows("pcap", "decrypt", capture, "-k", tmp_path / "empty.keylog", "-o", out)
    assert "no keys in the key logs" in refused.stderr
    (tmp_path / "no.pcapng").write_bytes(b"no capture at all, but long enough")
    refused = narrows("pcap", "decrypt", tmp_path / "no.pcapng", *keys)
    assert "not a pcapng file" in refused.stderr
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_the_sequence_diagram_shows_the_packets_in_order(result: RunResult) -> None:
    done = narrows("sequence", result.directory, "--limit", 400)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["a", "b"]
    assert sum("INITIATION" in line for line in lines) >= 3
    assert any(line.rstrip().endswith("lost") and "╳" in line for line in lines)
    assert any("EARLY 0: STREAM" in line for line in lines)
    assert any("SEALED fragment 1 of 3" in line for line in lines)
    assert any("◄" in line and "ACK" in line for line in lines)
    times = [float(line.split()[0]) for line in lines[1:]]
    assert times == sorted(times)
    later = narrows("sequence", result.directory, "--from", "2s", "--limit", 5)
    assert float(later.stdout.splitlines()[1].split()[0]) >= 2000
    assert "more packets: raise --limit" in later.stderr
    assert "no node 'c'" in narrows("sequence", result.directory, "-n", "c").stderr


MOVING = """
name: moving
topology:
  nodes: {a: {kind: host}, b: {kind: host}}
  links: [{endpoints: ["a:eth1", "b:eth1"], netem: {delay: 5ms, rate: 2Mbit}}]
workloads:
  film: {kind: bulk, from: a, to: b, size: 100kB}
timeline:
  - {at: 100ms, rebind: {node: a, address: true}}
"""


def test_a_node_that_moved_is_the_same_in_the_sequence_diagram(tmp_path: Path) -> None:
    (tmp_path / "moving.lab.yml").write_text(MOVING)
    topology = load(str(tmp_path / "moving.lab.yml"))
    moved = asyncio.run(run(topology, "simulation", directory=tmp_path / "results"))
    done = narrows("sequence", moved.directory, "--limit", 400)
    assert done.stdout.splitlines()[0].split() == ["a", "b"]


def test_the_sequence_diagram_as_svg_is_well_formed(result: RunResult) -> None:
    done = narrows("sequence", result.directory, "-f", "svg", "--limit", 400)
    root = ET.fromstring(done.stdout)
    svg = "{http://www.w3.org/2000/svg}"
    lines = root.findall(f".//{svg}line")
    kinds = [line.get("class") for line in lines]
    assert kinds.count("life") == 2
    assert kinds.count("lost") >= 1
    assert len(root.findall(f".//{svg}title")) == kinds.count("sent") + kinds.count("lost")
    for line in lines:
        assert float(str(line.get("y2"))) >= float(str(line.get("y1")))
