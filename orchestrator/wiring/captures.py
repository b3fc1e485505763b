"""Captures: one process and one file a link, both interfaces of the link namespace in it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import BackendError
from orchestrator.executor import Process
from orchestrator.wiring.commands import DEVICE_A, DEVICE_B
from orchestrator.wiring.shaping import Spawn
from orchestrator.wiring.state import LinkRecord

#: A hundred Python processes that start at once on two cores take some seconds.
_READY_TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.01
#: Time to write what the ring still holds.
_FLUSH_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Capture:
    """A running capture of a link."""

    link: LinkRecord
    process: Process
    path: Path


def capture_path(link: LinkRecord, directory: Path) -> Path:
    """Return the file of a link's capture."""
    return directory / "captures" / f"{link.name.replace(':', '.').replace('/', '_')}.pcapng"


def start(link: LinkRecord, directory: Path, spawn: Spawn) -> Capture:
    """Start the capture of a link."""
    path = capture_path(link, directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Where frames come in and where they go out, behind the queueing discipline: so what the link lost or
    # damaged is seen even on the last link of a path. It doubles the files, and costs no time to speak of.
    argv = [sys.executable, "-m", "node.capture", "--output", str(path), "--direction", "both"]
    for device in (DEVICE_A, DEVICE_B):
        argv += ["--interface", device]
    return Capture(link, spawn(f"capture of {link.name}", argv, Path(link.namespace)), path)


async def wait_ready(captures: list[Capture]) -> None:
    """Wait until every capture sees packets: its file then has its header.

    Raises:
        BackendError: one has ended or does not come up.
    """
    deadline = asyncio.get_running_loop().time() + _READY_TIMEOUT_SECONDS
    for capture in captures:
        while not (capture.path.exists() and capture.path.stat().st_size):
            ended = capture.process.poll() is not None
            if ended or asyncio.get_running_loop().time() > deadline:
                why = "has ended" if ended else "does not come up"
                raise BackendError(f"the capture of {capture.link.name} {why}:\n{capture.process.tail()}")
            await asyncio.sleep(_POLL_SECONDS)


async def stop(captures: list[Capture]) -> dict[str, list[Path]]:
    """End captures with everything written; return link name → files.

    Raises:
        BackendError: one failed; the message holds what it said.
    """
    codes = await asyncio.gather(
        *(capture.process.stop(grace_seconds=_FLUSH_SECONDS) for capture in captures)
    )
    for capture, code in zip(captures, codes, strict=True):
        if code != 0:
            raise BackendError(
                f"the capture of {capture.link.name} ended with {code}:\n{capture.process.tail()}"
            )
    return {capture.link.name: [capture.path] for capture in captures}
