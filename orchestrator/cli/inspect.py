"""Show the labs that are up, or one of them: its nodes, its links, what became of packets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.support.options import format_option, label_option, verbose_option

if TYPE_CHECKING:
    from orchestrator.wiring.state import LabRecord


@click.command("inspect")
@click.argument("lab", required=False)
@label_option("List only labs with this label; KEY= for any value. May be repeated.")
@format_option
@verbose_option
def command(lab: str | None, labels: dict[str, str], form: str) -> None:
    """Show the lab with the name or run id LAB as it is now; without LAB, list all labs.

    Impairments are read back from whoever impairs, the kernel or the user-space shaper.
    """
    if lab is None:
        _list(form, labels)
        return
    from orchestrator.wiring import live

    _show(live.find(lab), form)


def _list(form: str, labels: dict[str, str]) -> None:
    import dataclasses
    import json

    from orchestrator.topology.labels import fits
    from orchestrator.wiring import cleanup

    labs = [found for found in cleanup.list_labs() if fits(found.labels, labels)]
    if form == "json":
        click.echo(json.dumps({"labs": [dataclasses.asdict(found) for found in labs]}))
        return
    if not labs:
        click.echo("no lab is up; make one with: narrows deploy FILE")
        return
    from orchestrator.cli.support.tables import show_tables, table

    rows = [
        (
            found.name,
            found.run_id,
            found.backend,
            "up" if found.up else "partly up",
            f"process {found.owner}" if found.owner else "nobody",
            " ".join(f"{key}={value}" for key, value in found.labels.items()),
        )
        for found in labs
    ]
    show_tables(table("Labs", ("name", "run id", "back end", "state", "owned by", "labels"), rows))


def _show(record: LabRecord, form: str) -> None:
    import asyncio
    import json

    from orchestrator.cli.support.exit_codes import ExitCode
    from orchestrator.wiring import live

    nodes = asyncio.run(live.inspect(record))
    directions = live.show_impairments(record) if record.links else []
    whole = all(node.state in ("running", "forwarding") for node in nodes)
    if form == "json":
        told = {
            "lab": record.name,
            "run_id": record.run_id,
            "backend": record.backend,
            "impairment": record.impairment,
            "directory": record.directory,
            "nodes": [
                {
                    "name": node.name,
                    "kind": node.kind,
                    "ipv4": node.ipv4,
                    "state": node.state,
                    "namespace": node.namespace,
                }
                for node in nodes
            ],
            "links": [
                {
                    "link": way.link,
                    "from": way.endpoint,
                    "to": way.towards,
                    "impairments": way.impairments.to_mapping(),
                    "counters": dict(way.counters),
                }
                for way in directions
            ],
        }
        click.echo(json.dumps(told))
    else:
        from orchestrator.cli.support.tables import impairment_table, show_tables, table

        rows = [(node.name, node.kind, node.ipv4, node.state) for node in nodes]
        title = f"{record.name} ({record.run_id}) on {record.backend}, impaired by {record.impairment}"
        show_tables(table(title, ("node", "kind", "address", "state"), rows), impairment_table(directions))
    click.get_current_context().exit(ExitCode.OK if whole else ExitCode.PARTLY_UP)
