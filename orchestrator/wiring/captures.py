"""Captures: one process and one file a link, both interfaces of the link namespace in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.capture.process import RING_MIB
from node.capture.ring import RETIRE_MS
from orchestrator.errors import BackendError
from orchestrator.executor import Process, time_limit
from orchestrator.wiring.commands import DEVICE_A, DEVICE_B
from orchestrator.wiring.forkserver import Wanted
from orchestrator.wiring.state import LinkRecord

#: For one; many have more (`time_limit`).
_READY_TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.01
#: Memory for the rings of all links of a lab, which the kernel does not swap, and clears page by page before
#: a capture sees its first frame: with four times as much, that was two thirds of what a lab of a hundred
#: captured links cost to bring up. Up to 16 links have RING_MIB each.
RINGS_MIB = 512
#: For each ring the kernel has a timer that looks whether a block has waited long enough: those of a thousand
#: links, 50 times a second each, took a core and a half before a single packet was sent.
_LOOKS_PER_SECOND = 10_000
#: Time to write what the ring still holds; many have more.
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


def start(
    links: Sequence[LinkRecord], directory: Path, spawn: Callable[[Sequence[Wanted]], list[Process]]
) -> list[Capture]:
    """Start the captures of links."""
    paths = [capture_path(link, directory) for link in links]
    (directory / "captures").mkdir(parents=True, exist_ok=True)
    ring, retire = str(ring_mib(len(links))), str(retire_ms(len(links)))
    wanted = []
    for link, path in zip(links, paths, strict=True):
        # Where frames come in and where they go out, behind the queueing discipline: so what the link lost
        # or damaged is seen even on the last link of a path. It doubles the files, and costs hardly any time.
        memory = ("--ring-mib", ring, "--retire-ms", retire)
        arguments = ("--output", str(path.absolute()), "--direction", "both", *memory)
        ends = ("--interface", DEVICE_A, "--interface", DEVICE_B)
        log = directory / "logs" / f"capture-{path.stem}.log"
        title = f"capture {link.index}"
        wanted.append(
            Wanted(
                f"capture of {link.name}",
                "node.capture",
                (*arguments, *ends),
                Path(link.namespace),
                log,
                title,
            )
        )
    return [
        Capture(link, process, path) for link, process, path in zip(links, spawn(wanted), paths, strict=True)
    ]


def ring_mib(links: int) -> int:
    """Return the size of each interface's ring in MiB: all rings of a lab share RINGS_MIB."""
    return max(1, min(RING_MIB, RINGS_MIB // (2 * links)))


def retire_ms(links: int) -> int:
    """Return after how many milliseconds a frame is written at the latest: longer where links are many."""
    return max(RETIRE_MS, 2 * links * 1000 // _LOOKS_PER_SECOND)


async def wait_ready(captures: list[Capture]) -> None:
    """Wait until every capture sees packets: its file then has its header.

    Raises:
        BackendError: one has ended or does not come up.
    """
    deadline = asyncio.get_running_loop().time() + time_limit(_READY_TIMEOUT_SECONDS, len(captures))
    for capture in captures:
        while not (capture.path.exists() and capture.path.stat().st_size):
            code = capture.process.poll()
            if code is not None or asyncio.get_running_loop().time() > deadline:
                why = "does not come up" if code is None else f"has ended with exit code {code}"
                raise BackendError(f"the capture of {capture.link.name} {why}:\n{capture.process.tail()}")
            await asyncio.sleep(_POLL_SECONDS)


async def stop(captures: list[Capture]) -> dict[str, list[Path]]:
    """End captures with everything written; return link name → files.

    Raises:
        BackendError: one failed; the message holds what it said.
    """
    grace = time_limit(_FLUSH_SECONDS, len(captures))
    codes = await asyncio.gather(*(capture.process.stop(grace_seconds=grace) for capture in captures))
    for capture, code in zip(captures, codes, strict=True):
        if code != 0:
            raise BackendError(
                f"the capture of {capture.link.name} ended with {code}:\n{capture.process.tail()}"
            )
    return {capture.link.name: [capture.path] for capture in captures}
