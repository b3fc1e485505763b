"""A lab that was left up can be looked at and changed by any later process."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.capture.pcapng import Capture
from node.control.messages import Command
from orchestrator.errors import BackendError
from orchestrator.topology.model import LinkEndpoint
from orchestrator.wiring import cleanup, live
from orchestrator.wiring.state import LabRecord
from tests.netns.labs import left_over, new_run_id
from tests.netns.orchestrate import await_line, orchestrate

pytestmark = [pytest.mark.netns, pytest.mark.slow]

LEFT = LinkEndpoint("left", "eth1")
MIDDLE = LinkEndpoint("middle", "eth2")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabRecord]:
    """One for all tests: who changes it changes it back."""
    place, run_id = tmp_path_factory.mktemp("live"), new_run_id()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NARROWS_STATE", str(place / "state"))
        with orchestrate(run_id, place / "run", "detached") as process:
            assert await_line(process) == "up"
            assert process.wait() == 0
        yield live.find()
        cleanup.destroy_all()
        assert left_over(run_id) == []


@pytest.fixture
def changed_lab(lab: LabRecord) -> Iterator[LabRecord]:
    """The same, with its impairments as they were afterwards."""
    yield lab
    live.set_impairments(lab, LEFT, {"delay": "1ms", "loss": None})
    live.set_impairments(lab, MIDDLE, {"rate": None})


def test_a_lab_left_up_is_found_inspected_and_changed(lab: LabRecord) -> None:
    assert lab == live.find("line") == live.find(lab.run_id)
    states = {node.name: node.state for node in asyncio.run(live.inspect(lab))}
    assert states == {"left": "running", "middle": "forwarding", "right": "running"}
    shown = {found.endpoint: found.impairments.to_mapping() for found in live.show_impairments(lab)}
    assert shown == {
        "left:eth1": {"delay": "1ms"},
        "middle:eth1": {"delay": "1ms"},
        "middle:eth2": {},
        "right:eth1": {},
    }
    assert asyncio.run(live.request(lab, "left", Command("status"))).ok


def test_only_the_named_impairments_change(changed_lab: LabRecord) -> None:
    lab = changed_lab
    assert live.set_impairments(lab, LEFT, {"loss": "5%"}).to_mapping() == {"delay": "1ms", "loss": "5%"}
    assert live.set_impairments(lab, LEFT, {"delay": None}).to_mapping() == {"loss": "5%"}
    # On a link that nothing impaired so far.
    assert live.set_impairments(lab, MIDDLE, {"rate": "1Mbit"}).to_mapping() == {"rate": "1Mbit"}
    (found,) = [found for found in live.show_impairments(lab, link="right") if found.endpoint == str(MIDDLE)]
    assert found.impairments.rate == 1_000_000
    assert found.towards == "right:eth1"


def test_commands_run_inside_nodes(lab: LabRecord, capfd: pytest.CaptureFixture[str]) -> None:
    assert live.execute(lab, "left", ["ip", "-o", "-4", "address", "show", "eth1"]) == 0
    assert lab.node("left").ipv4 in capfd.readouterr().out
    assert live.execute(lab, "left", ["--", "false"]) == 1


def test_what_is_not_there_is_named_with_what_is(lab: LabRecord) -> None:
    with pytest.raises(BackendError, match="use one of left, middle, right"):
        live.execute(lab, "nobody", ["true"])
    with pytest.raises(BackendError, match="use one of left:eth1, middle:eth1"):
        live.set_impairments(lab, LinkEndpoint("left", "eth9"), {"loss": "5%"})
    with pytest.raises(BackendError, match=rf"no lab 'other' is up; up are: line \({lab.run_id}\)"):
        live.find("other")


def test_a_link_is_captured_into_a_file_and_into_a_pipe(lab: LabRecord, tmp_path: Path) -> None:
    path = tmp_path / "left.pcapng"
    narrows = [sys.executable, "-m", "orchestrator", "capture", "-l", lab.run_id, "left:eth1"]
    capture = subprocess.Popen([*narrows, "-w", str(path)])
    while not (path.exists() and path.stat().st_size):
        assert capture.poll() is None
        time.sleep(0.02)
    ping = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'here', ('10.0.0.2', 9))"
    assert live.execute(lab, "left", [sys.executable, "-c", ping]) == 0
    time.sleep(0.2)
    subprocess.run(["pkill", "-INT", "-f", "--", f"--output {path}"], check=True)
    assert capture.wait(timeout=60) == 0
    read = Capture.open(path)
    payloads = [bytes(frame.data) for frame in read]
    # Where it came into the link, and where it went out.
    assert sum(data[23] == socket.IPPROTO_UDP and data.endswith(b"here") for data in payloads) == 2
    assert read.comments == ["link left:eth1--middle:eth1: a is left:eth1, b is middle:eth1"]

    # Nothing comes on this link any more, and still the capture ends with its reader.
    with subprocess.Popen([*narrows, "-w", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as piped:
        assert piped.stdout is not None
        assert piped.stdout.read(4) == bytes.fromhex("0a0d0d0a")
        piped.stdout.close()
        assert piped.wait(timeout=60) == 0


def test_a_link_that_is_not_there_is_not_captured(lab: LabRecord, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"no link 'left:eth7': use one of left:eth1--middle:eth1"):
        live.capture(lab, "left:eth7", tmp_path / "no.pcapng", seconds=1)
    assert list(tmp_path.glob("*.pcapng")) == []
