"""Work on the captures that runs leave."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from orchestrator.probes.wire.decrypt import Counts, Keys


@click.group("pcap")
def command() -> None:
    """Work on the captures that runs leave."""


@command.command("decrypt")
@click.argument("place", type=click.Path(exists=True, path_type=Path), metavar="RUN|CAPTURE")
@click.option(
    "-k",
    "--keys",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Key log of a node; may be given several times. Not needed with RUN.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write, or with RUN the directory; otherwise beside what is read.",
)
def decrypt(place: Path, keys: tuple[Path, ...], output: Path | None) -> None:
    """Write captures with their packets in clear, each with a comment that says what is in it.

    RUN is the directory of a run: all its captures are opened with its keys, and what the wire probe
    found wrong with a frame is said in its comment. CAPTURE is one pcapng file. What is written can be
    read by Wireshark with node/dissectors/wireshark/strait.lua, and by scapy.
    """
    if place.is_dir():
        if keys:
            raise click.UsageError("-k is for a single CAPTURE: a RUN has its own keys")
        _run(place, output)
        return
    if not keys:
        raise click.UsageError(f"{place} cannot be opened without keys: give the nodes' key logs with -k")
    from orchestrator.probes.wire.decrypt import Keys

    written = output or place.with_name(f"{place.stem}.clear.pcapng")
    _decrypt(place, Keys.read(keys), written, {})


def _run(place: Path, output: Path | None) -> None:
    from orchestrator.experiment.kept import find_run
    from orchestrator.probes.wire.decrypt import Keys

    run = find_run(place)
    directory = output or place / "clear"
    directory.mkdir(parents=True, exist_ok=True)
    comments = _violations(place)
    if not run.collected.captures:
        return
    keys = Keys.read(run.collected.key_logs)
    for link, paths in run.collected.captures.items():
        for path in paths:
            written = directory / path.name
            _decrypt(path, keys, written, comments.get(link, {}))


def _decrypt(path: Path, keys: Keys, written: Path, comments: dict[int, str]) -> None:
    """Write a capture in clear, and tell what is in it."""
    from node.capture.pcapng import Capture, CaptureError, Writer
    from orchestrator.errors import TestbedError
    from orchestrator.probes.wire.decrypt import decrypt

    if written.exists() and path.exists() and written.samefile(path):
        raise click.UsageError(f"{written} is what is read: give another place with -o")
    try:
        capture = Capture.open(path)
        part = written.with_name(f".{written.name}.part")
        try:
            with part.open("wb") as file:
                counts = decrypt(capture, Writer(file, comment=f"{path.name}, in clear"), keys, comments)
            part.replace(written)
        finally:
            part.unlink(missing_ok=True)
    except CaptureError as error:
        raise TestbedError(str(error)) from error
    _tell(written, counts, capture.truncated_at)


def _violations(place: Path) -> dict[str, dict[int, str]]:
    """Return what the run's result says against frames: link → number of the frame → violation."""
    import json
    import re

    from orchestrator.errors import TestbedError

    found: dict[str, dict[int, str]] = {}
    result = place / "result.json"
    if result.exists():
        try:
            details = [
                str(detail) for detail in json.loads(result.read_text(encoding="utf-8"))["wire"]["details"]
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TestbedError(f"{result}: not what narrows run writes ({error!r}); run it again") from error
        for detail in details:
            match = re.fullmatch(r"(\S+) frame (\d+): (SPEC .*)", detail, re.DOTALL)
            if match is not None:
                found.setdefault(match[1], {})[int(match[2])] = match[3]
    return found


def _tell(written: Path, counts: Counts, cut_off: int | None) -> None:
    closed = f", {counts.closed} that no key opens" if counts.closed else ""
    cut = "" if cut_off is None else f"; the capture is cut off at offset {cut_off}"
    click.echo(f"{written}: {counts.frames} frames, {counts.opened} packets opened{closed}{cut}")
