"""Measure the throughput of Strait between any two machines, with iperf3's letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.support.between import DEFAULT_PORT, lab_forms

if TYPE_CHECKING:
    from orchestrator.perf.client import PerfResult
    from orchestrator.perf.sessions import Wanted


@click.command("perf")
@click.option("-s", "--server", is_flag=True, help="Serve tests until interrupted.")
@click.option("-c", "--client", "host", metavar="HOST", help="Run a test against the server at HOST.")
@click.option(
    "-p", "--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True, help="UDP port."
)
@click.option(
    "-B", "--bind", metavar="ADDRESS", default="0.0.0.0", help="Server: where to listen; :: for IPv6."
)
@click.option("-1", "--one-off", is_flag=True, help="Server: end after one test.")
@click.option("-t", "--time", "seconds", type=click.FloatRange(0.1, 86400), help="Seconds to send (10).")
@click.option("-n", "--bytes", "size", metavar="SIZE", help="Bytes to send instead of a time: 100M, 1G.")
@click.option("-l", "--length", metavar="SIZE", default="128K", show_default=True, help="Bytes of one write.")
@click.option("-P", "--parallel", type=click.IntRange(1, 100), default=1, help="Streams at once.")
@click.option("-R", "--reverse", is_flag=True, help="Let the server send.")
@click.option("-b", "--bitrate", metavar="RATE", help="Bits a second of each stream at most: 10M; no limit.")
@click.option(
    "-C", "--congestion", metavar="NAME", default="cubic", help="Congestion controller of the client."
)
@click.option(
    "-i", "--interval", type=click.FloatRange(0.1, 3600), default=1.0, help="Seconds between lines."
)
@click.option(
    "-J", "--json", "as_json", is_flag=True, help="Write iperf3's JSON at the end, and nothing else."
)
@click.option("--key", metavar="WORD", help="What the server's key follows from: the same word at both ends.")
@lab_forms
def command(
    server: bool,
    host: str | None,
    port: int,
    bind: str,
    one_off: bool,
    seconds: float | None,
    size: str | None,
    length: str,
    parallel: int,
    reverse: bool,
    bitrate: str | None,
    congestion: str,
    interval: float,
    as_json: bool,
    key: str | None,
    lab: str | None,
    ends: tuple[str, ...],
) -> None:
    """Measure the throughput of Strait over real sockets.

    On one machine: narrows perf -s. On another: narrows perf -c HOST. Between two hosts of a lab that is
    up: narrows perf --lab LAB FROM TO.

    The letters, the lines and the JSON are iperf3's. Without --key anybody can pose as the server.
    """
    import asyncio

    from node.protocol.time import SECOND
    from orchestrator.cli.support.between import amount, inside_lab
    from orchestrator.perf import client
    from orchestrator.perf.sessions import MAX_LENGTH, Wanted

    if ends:
        click.get_current_context().exit(inside_lab("perf", lab, ends))
    if server == (host is not None):
        raise click.UsageError("give one of -s, -c HOST, and --lab LAB FROM TO")
    if server:

        def ready(address: tuple[str, int]) -> None:
            click.echo(f"Server listening on {address[0]} port {address[1]} (Strait over UDP)", err=as_json)

        asyncio.run(client.serve(bind, port, word=key, one_off=one_off, on_ready=ready))
        return
    if seconds is not None and size is not None:
        raise click.UsageError("give a time (-t) or a number of bytes (-n), not both")
    block = amount(length, base=1024)
    if not 1 <= block <= MAX_LENGTH:
        raise click.UsageError(f"-l: found {length!r}, must be from 1 to {MAX_LENGTH >> 20}M")
    wanted = Wanted(
        parallel=parallel,
        reverse=reverse,
        duration=0 if size is not None else round((seconds or 10.0) * SECOND),
        size=amount(size, base=1024) if size is not None else 0,
        length=block,
        rate=amount(bitrate, base=1000) if bitrate is not None else 0,
    )
    _run_client(str(host), port, wanted, key=key, interval=interval, congestion=congestion, as_json=as_json)


def _run_client(
    host: str, port: int, wanted: Wanted, *, key: str | None, interval: float, congestion: str, as_json: bool
) -> None:
    """Run a test and say what it shows."""
    import asyncio
    import json

    from node.protocol.configuration import Configuration
    from node.protocol.congestion.base import CONTROLLERS
    from orchestrator.perf import client, report

    CONTROLLERS[congestion]  # an unknown name is told with those that there are
    configuration = Configuration(congestion=congestion)
    address = client.resolve(host, port)
    shown = [-1]

    def show(result: PerfResult) -> None:
        if as_json:
            return
        if shown[0] < 0:
            shown[0] = 0
            click.echo("\n".join(report.opening(result)))
        for sample in result.samples[shown[0] :]:
            click.echo("\n".join(report.interval_lines(sample)))
        shown[0] = len(result.samples)

    if not as_json:
        click.echo(f"Connecting to host {host}, port {port}")
    result = asyncio.run(
        client.measure(
            address, wanted, word=key, interval=interval, configuration=configuration, on_sample=show
        )
    )
    if as_json:
        click.echo(json.dumps(report.to_json(result), indent=2))
    else:
        click.echo("\n".join(report.closing(result)))
