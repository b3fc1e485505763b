"""Measure round trips of Strait to a server of narrows perf, or between two hosts of a lab; as ping does."""

from __future__ import annotations

import click

from orchestrator.cli.support.between import DEFAULT_PORT, lab_forms


@click.command("ping")
@click.option(
    "-c", "--count", type=click.IntRange(0, 10_000_000), default=0, help="Pings to send; 0: no end."
)
@click.option(
    "-i", "--interval", type=click.FloatRange(0.001, 3600), default=1.0, help="Seconds between two."
)
@click.option("-s", "--size", type=click.IntRange(8, 60_000), default=56, help="Bytes of each.")
@click.option(
    "-W", "--wait", type=click.FloatRange(0.001, 3600), default=10.0, help="Seconds to wait for each."
)
@click.option(
    "-p", "--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True, help="UDP port."
)
@click.option("-q", "--quiet", is_flag=True, help="Only the last lines.")
@click.option("--key", metavar="WORD", help="What the server's key follows from: the same word at both ends.")
@lab_forms
def command(
    count: int,
    interval: float,
    size: int,
    wait: float,
    port: int,
    quiet: bool,
    key: str | None,
    lab: str | None,
    ends: tuple[str, ...],
) -> None:
    """Measure round trips of Strait: narrows ping HOST, or narrows ping [--lab LAB] FROM TO.

    HOST runs `narrows perf -s`. FROM and TO are hosts of a lab that is up, which needs nothing else.

    Each ping is a message over one connection, sent again if it is lost until --wait is over: what comes
    back later counts as lost. The exit code is 1 if nothing came back.
    """
    import asyncio

    from orchestrator.cli.support.between import inside_lab
    from orchestrator.cli.support.exit_codes import ExitCode
    from orchestrator.perf import client, report
    from orchestrator.perf.pings import PingResult

    if lab is not None or len(ends) == 2:
        click.get_current_context().exit(inside_lab("ping", lab, ends))
    if len(ends) != 1:
        raise click.UsageError("give HOST, or two hosts of a lab that is up")
    address = client.resolve(ends[0], port)
    result = PingResult()

    def answered(number: int, taken: int) -> None:
        if not quiet:
            click.echo(f"{size} bytes from {address[0]}: seq={number} time={taken / 1e6:.3g} ms")

    async def go() -> None:
        await client.ping(
            address,
            count=count,
            interval=interval,
            size=size,
            wait=wait,
            word=key,
            on_answer=answered,
            result=result,
        )

    click.echo(f"PING {ends[0]} ({address[0]}) {size} bytes of data over Strait.")
    try:
        asyncio.run(go())
    except client.PerfError as error:
        click.echo(f"narrows: {error}", err=True)
        result.transmitted = max(1, result.transmitted)
    except KeyboardInterrupt:
        pass  # ping says what it knows
    click.echo("\n".join(report.ping_lines(ends[0], result)))
    click.get_current_context().exit(ExitCode.OK if result.received else ExitCode.FAILED)
