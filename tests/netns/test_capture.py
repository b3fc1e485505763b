"""The capture process on a real veth: every frame once, everything written at the end, a full disk said."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from node.capture.pcapng import Capture, Direction
from node.capture.ring import RETIRE_MS

pytestmark = pytest.mark.netns

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0
FRAMES = 2000


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=PATIENCE_SECONDS)


@pytest.fixture
def veth() -> Iterator[tuple[str, str]]:
    """Two interfaces joined in a namespace of their own; yields the namespace and what is sent into."""
    namespace = f"nw-cap-{os.getpid()}"
    _ip("netns", "add", namespace)
    try:
        _ip("-n", namespace, "link", "add", "near", "type", "veth", "peer", "name", "far")
        for interface in ("near", "far"):
            # Without an IPv6 address nobody sends frames but the test.
            _ip("-n", namespace, "link", "set", interface, "addrgenmode", "none", "up")
        yield namespace, "near"
    finally:
        _ip("netns", "delete", namespace)


@contextmanager
def _capturing(namespace: str, output: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "node.capture", "--output", str(output), *arguments]
    process = subprocess.Popen(
        ["ip", "netns", "exec", namespace, *command], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (output.exists() and output.stat().st_size):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "the capture did not begin"
            time.sleep(0.01)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _ended(process: subprocess.Popen[str]) -> dict[str, object]:
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    report: dict[str, object] = json.loads(said.splitlines()[-1])
    return report


def _send(namespace: str, interface: str, frames: list[bytes]) -> None:
    with ExitStack() as stack:
        here = stack.enter_context(Path("/proc/self/ns/net").open("rb"))
        there = stack.enter_context(Path(f"/run/netns/{namespace}").open("rb"))
        _enter(there.fileno())
        try:
            opened = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
            opened.bind((interface, 0))
        finally:
            _enter(here.fileno())
        for frame in frames:
            opened.send(frame)


def _enter(descriptor: int) -> None:
    import ctypes

    assert ctypes.CDLL(None, use_errno=True).setns(descriptor, 0) == 0


def _frames(count: int = FRAMES, size: int = 1500) -> list[bytes]:
    head = b"\x02\0\0\0\0\x01" + b"\x02\0\0\0\0\x02" + b"\x88\xb5"
    return [head + index.to_bytes(4, "big") + bytes(size - 18 - index % 7) for index in range(count)]


def test_every_frame_is_recorded_once_where_it_comes_in(veth: tuple[str, str], tmp_path: Path) -> None:
    namespace, near = veth
    output = tmp_path / "c.pcapng"
    sent = _frames()
    with _capturing(
        namespace, output, "--interface", "near", "--interface", "far", "--comment", "x"
    ) as process:
        _send(namespace, near, sent)
        report = _ended(process)
    assert process.returncode == 0
    capture = Capture.open(output)
    frames = list(capture)
    assert [bytes(frame.data) for frame in frames] == sent
    assert {(frame.interface, frame.direction) for frame in frames} == {(1, Direction.INBOUND)}
    assert [frame.at for frame in frames] == sorted(frame.at for frame in frames)
    assert [interface.name for interface in capture.interfaces] == ["near", "far"]
    assert capture.comments == ["x"]
    assert capture.interfaces[1].dropped == 0
    assert capture.truncated_at is None
    assert report == {
        "file": str(output),
        "frames": FRAMES,
        "interfaces": {"near": {"received": 0, "dropped": 0}, "far": {"received": FRAMES, "dropped": 0}},
    }


def test_the_smallest_ring_takes_frames_while_the_capture_gets_no_turn(
    veth: tuple[str, str], tmp_path: Path
) -> None:
    """Each group ends in a block of its own, since the kernel hands over what has waited long enough."""
    namespace, near = veth
    output = tmp_path / "c.pcapng"
    frames = _frames(50)
    with _capturing(namespace, output, "--interface", "far", "--ring-mib", "1") as process:
        process.send_signal(signal.SIGSTOP)
        for start in range(0, len(frames), 10):
            _send(namespace, near, frames[start : start + 10])
            time.sleep(3 * RETIRE_MS / 1000)
        process.send_signal(signal.SIGCONT)
        report = _ended(process)
    assert [bytes(frame.data) for frame in Capture.open(output)] == frames
    assert report["interfaces"] == {"far": {"received": len(frames), "dropped": 0}}


def test_both_directions_carry_their_flag(veth: tuple[str, str], tmp_path: Path) -> None:
    namespace, near = veth
    output = tmp_path / "c.pcapng"
    with _capturing(
        namespace, output, "--interface", "near", "--interface", "far", "--direction", "both"
    ) as process:
        _send(namespace, near, _frames(50))
        _ended(process)
    seen = [(frame.interface, frame.direction) for frame in Capture.open(output)]
    assert seen.count((0, Direction.OUTBOUND)) == 50
    assert seen.count((1, Direction.INBOUND)) == 50
    assert len(seen) == 100


def test_snap_length_keeps_the_original_length(veth: tuple[str, str], tmp_path: Path) -> None:
    namespace, near = veth
    output = tmp_path / "c.pcapng"
    with _capturing(namespace, output, "--interface", "far", "--snaplen", "60") as process:
        _send(namespace, near, _frames(7))
        _ended(process)
    frames = list(Capture.open(output))
    assert [len(frame.data) for frame in frames] == [60] * 7
    assert [frame.original_length for frame in frames] == [len(frame) for frame in _frames(7)]


def test_a_killed_capture_leaves_a_readable_file(veth: tuple[str, str], tmp_path: Path) -> None:
    namespace, near = veth
    output = tmp_path / "c.pcapng"
    sent = _frames()
    with _capturing(namespace, output, "--interface", "far") as process:
        _send(namespace, near, sent)
        process.kill()
    frames = list(Capture.open(output))
    assert [bytes(frame.data) for frame in frames] == sent[: len(frames)]


def test_an_interface_that_goes_away_ends_the_capture_in_order(veth: tuple[str, str], tmp_path: Path) -> None:
    namespace, near = veth
    output = tmp_path / "c.pcapng"
    with _capturing(namespace, output, "--interface", "far") as process:
        _send(namespace, near, _frames(20))
        _ip("-n", namespace, "link", "delete", near)
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, said
    assert len(list(Capture.open(output))) == 20


def test_a_full_disk_is_said_and_the_file_stays_valid(veth: tuple[str, str], tmp_path: Path) -> None:
    namespace, near = veth
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=True, timeout=PATIENCE_SECONDS
    )
    try:
        output = small / "c.pcapng"
        sent = _frames()
        with _capturing(namespace, output, "--interface", "far") as process:
            _send(namespace, near, sent)
            _, said = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 1
        assert "No space left on device" in json.loads(said)["error"]
        capture = Capture.open(output)
        frames = list(capture)
        assert capture.truncated_at is None
        assert [bytes(frame.data) for frame in frames] == sent[: len(frames)]
        # Mapped files keep a file system busy.
        capture.data.release()
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True, timeout=PATIENCE_SECONDS)


def test_an_unknown_interface_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "node.capture", "--interface", "nw-none", "--output", str(tmp_path / "c")],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stderr)["error"] == "interface nw-none cannot be captured: No such device"
