"""Show or change the impairments of links in a lab that is up."""

from __future__ import annotations

import click

from orchestrator.cli.support.options import format_option

lab_option = click.option("-l", "--lab", help="Name or run id of the lab; not needed when one is up.")


@click.group("netem")
def command() -> None:
    """Show or change the impairments of links in a lab that is up."""


@command.command("show")
@lab_option
@click.argument("link", required=False)
@format_option
def show(lab: str | None, link: str | None, form: str) -> None:
    """Show the impairments of all links, or of those at LINK, read back from whoever impairs.

    LINK is the name of a link, an endpoint as lisbon:eth1, or a node.
    """
    import json

    from orchestrator.wiring import live

    directions = live.show_impairments(live.find(lab), link=link)
    if form == "json":
        told = [
            {
                "link": way.link,
                "from": way.endpoint,
                "to": way.towards,
                "impairments": way.impairments.to_mapping(),
                "counters": dict(way.counters),
            }
            for way in directions
        ]
        click.echo(json.dumps({"links": told}))
        return
    from orchestrator.cli.support.tables import impairment_table, show_tables

    show_tables(impairment_table(directions))


@command.command("set")
@lab_option
@click.argument("endpoint")
@click.argument("changes", nargs=-1, required=True, metavar="NAME=VALUE...")
@format_option
def set_(lab: str | None, endpoint: str, changes: tuple[str, ...], form: str) -> None:
    """Change what leaves ENDPOINT on its link; what is not named stays as it is.

    For example: narrows netem set lisbon:eth1 delay=50ms loss=1% rate=none

    Names and values are those of topology files; none takes an impairment out.
    """
    import asyncio
    import json
    from pathlib import Path

    from node.links.settings import ImpairmentsError
    from orchestrator.topology.trace_files import with_trace
    from orchestrator.wiring import live, live_faults
    from orchestrator.wiring.state import endpoint_of

    wanted = dict(_split(change) for change in changes)
    try:
        wanted = with_trace(wanted, Path.cwd())
        got = asyncio.run(live_faults.set_impairments(live.find(lab), endpoint_of(endpoint), wanted))
    except ImpairmentsError as error:
        raise click.UsageError(str(error)) from error
    if form == "json":
        click.echo(json.dumps({"endpoint": endpoint, "impairments": got.to_mapping()}))
    else:
        said = ", ".join(f"{name} {value}" for name, value in got.to_mapping().items()) or "no impairments"
        click.echo(f"{endpoint}: {said}")


def _split(change: str) -> tuple[str, str | None]:
    name, equals, value = change.partition("=")
    if not name or not equals or not value:
        raise click.UsageError(f"found {change!r}, must be NAME=VALUE, as delay=50ms; NAME=none takes it out")
    return name, None if value == "none" else value
