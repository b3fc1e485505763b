"""Capture a link of a lab that is up, into a file or a pipe."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.support.durations import DURATION


@click.command("capture")
@click.option("-l", "--lab", help="Name or run id of the lab; not needed when one is up.")
@click.argument("link")
@click.option(
    "-w",
    "--write",
    "output",
    required=True,
    type=click.Path(dir_okay=False, allow_dash=True),
    help="The pcapng file to write; - is standard output.",
)
@click.option("--for", "duration", type=DURATION, help="End after so long; otherwise on Ctrl-C.")
def command(lab: str | None, link: str, output: str, duration: int | None) -> None:
    """Capture LINK, given by its name or by one of its endpoints, as lisbon:eth1.

    For example: narrows capture lisbon:eth1 -w - | wireshark -k -i -

    Each frame is in it twice: as it came into the link, and, if the link let it pass, as it went out.
    """
    import signal
    import sys

    from node.protocol.time import SECOND
    from orchestrator.wiring import live

    if output == "-" and sys.stdout.isatty():
        raise click.UsageError("a capture is binary: send it into a pipe or a file, not to a terminal")
    if output != "-" and not Path(output).absolute().parent.is_dir():
        raise click.UsageError(f"-w {output}: there is no directory {Path(output).parent}")
    record = live.find(lab)
    # Ctrl-C is for the capture, which ends with everything written; then so do we.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    seconds = None if duration is None else duration / SECOND
    place = None if output == "-" else Path(output).absolute()
    click.get_current_context().exit(live.capture(record, link, place, seconds=seconds))
