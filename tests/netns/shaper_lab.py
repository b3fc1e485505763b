"""Scratch namespaces for tests of the shapers: two ends, and for the relay a link namespace between."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.shaper.client import ShaperClient

ROOT = Path(__file__).resolve().parents[2]
ADDRESS_A, ADDRESS_B = "10.213.7.1", "10.213.7.2"
#: Far beyond what any of the commands here takes.
TIME_LIMIT_SECONDS = 60.0
_numbers = itertools.count()

#: What a relay cannot repair: bursts left whole, checksums left for a network card.
OFFLOADS_OFF = ("tx", "off", "tso", "off", "gso", "off", "gro", "off", "tx-udp-segmentation", "off")


@dataclass(frozen=True)
class Ends:
    """Two ends of a path, and the namespace between them ("" if they are joined directly)."""

    a: str
    b: str
    middle: str

    def python(self, namespace: str, *arguments: str) -> subprocess.Popen[str]:
        """Start Python in a namespace."""
        return subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def traffic(self, namespace: str, *arguments: str) -> subprocess.Popen[str]:
        """Start one side of the traffic program in a namespace; a server is ready when this returns."""
        process = self.python(namespace, "-m", "tests.netns.traffic", *arguments)
        if arguments[0].startswith("serve"):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
        return process

    def measure(self, serve: list[str], send: list[str]) -> tuple[Any, Any]:
        """Run a server at b and a sender at a; return what each reports."""
        server = self.traffic(self.b, *serve)
        try:
            sender = self.traffic(self.a, *send)
            return report(server), report(sender)
        finally:
            server.kill()
            server.communicate()


def report(process: subprocess.Popen[str]) -> Any:
    """Wait for a process and return the JSON that it prints last."""
    out, err = process.communicate(timeout=TIME_LIMIT_SECONDS)
    assert process.returncode == 0, err
    return json.loads(out.splitlines()[-1])


def run(*argv: str, check: bool = True) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIME_LIMIT_SECONDS)
    assert done.returncode == 0 or not check, f"{argv}: {done.stderr}"
    return done.stdout


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fail when it has not come true within the generous time limit."""
    deadline = time.monotonic() + TIME_LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {TIME_LIMIT_SECONDS} s"
        time.sleep(0.02)


@contextmanager
def ends(*, middle: bool) -> Iterator[Ends]:
    """Make the namespaces; everything is gone at the end."""
    tag = f"shaper{os.getpid()}x{next(_numbers)}"
    lab = Ends(f"{tag}a", f"{tag}b", f"{tag}m" if middle else "")
    names = [name for name in (lab.a, lab.b, lab.middle) if name]
    try:
        for name in names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        if middle:
            for side, name in (("a", lab.a), ("b", lab.b)):
                run(
                    *["ip", "-n", lab.middle, "link", "add", f"to-{side}", "type", "veth"],
                    *["peer", "name", "eth0", "netns", name],
                )
                run("ip", "-n", lab.middle, "link", "set", f"to-{side}", "up")
        else:
            run(
                "ip",
                "-n",
                lab.a,
                "link",
                "add",
                "eth0",
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                lab.b,
            )
        for name, address in ((lab.a, ADDRESS_A), (lab.b, ADDRESS_B)):
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "netns", "exec", name, "ethtool", "-K", "eth0", *OFFLOADS_OFF)
        yield lab
    finally:
        for name in names:
            run("ip", "netns", "del", name, check=False)


@contextmanager
def shaper(lab: Ends, directory: Path, form: str, configuration: dict[str, object]) -> Iterator[Shaper]:
    """Run a shaper: a relay in the middle, or the NFQUEUE form at b."""
    control = str(directory / "shaper.sock")
    file = directory / "shaper.json"
    file.write_text(json.dumps({"control": control, "seed": "test", **configuration}))
    where = lab.middle if form == "relay" else lab.b
    interface = [] if form == "relay" else ["--interface", "eth0"]
    process = lab.python(where, "-m", "node.shaper", form, *interface, "--config", str(file))
    try:
        with ShaperClient.wait(control) as client:
            yield Shaper(process, client, control)
    finally:
        process.terminate()
        process.communicate(timeout=TIME_LIMIT_SECONDS)


@dataclass(frozen=True)
class Shaper:
    """A running shaper."""

    process: subprocess.Popen[str]
    client: ShaperClient
    control: str
