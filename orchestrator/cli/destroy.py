"""Remove a lab, or all labs that nobody owns: also what a killed run left."""

from __future__ import annotations

import click

from orchestrator.cli.support.options import format_option, verbose_option


@click.command("destroy")
@click.argument("lab", required=False)
@click.option("-t", "--topo", metavar="FILE", help="Remove the labs of this topology.")
@click.option("-a", "--all", "everything", is_flag=True, help="Remove every lab that nobody owns.")
@click.option("--force", is_flag=True, help="Also labs that a running process owns; it will then fail.")
@format_option
@verbose_option
def command(lab: str | None, topo: str | None, everything: bool, force: bool, form: str) -> None:
    """Remove the lab with the name or run id LAB, from its journal: its YAML is not needed.

    Only what the journal names and what carries the run's label is touched. May be called twice.
    """
    import json

    from orchestrator.cli.support.exit_codes import ExitCode

    if sum((lab is not None, topo is not None, everything)) != 1:
        raise click.UsageError("say what to remove: one of LAB, -t FILE and --all")
    from orchestrator.wiring import cleanup

    name = "" if everything else lab if lab is not None else _name_in(topo)
    done = cleanup.destroy_all(force=force) if everything else cleanup.destroy(name, force=force)
    if form == "json":
        told = {
            "removed": [found.run_id for found in done.removed],
            "in_use": [found.run_id for found in done.in_use],
        }
        click.echo(json.dumps(told))
    else:
        for found in done.removed:
            click.echo(f"removed {found.name or 'a lab'} ({found.run_id})")
        if not done.removed and not done.in_use:
            click.echo(f"there is nothing to remove{f': no lab is called {name}' if name else ''}", err=True)
    for found in done.in_use:
        owner = f"belongs to process {found.owner}"
        click.echo(f"{found.name} ({found.run_id}) {owner}: left, see --force", err=True)
    left = done.in_use and not everything
    click.get_current_context().exit(ExitCode.PARTLY_UP if left else ExitCode.OK)


def _name_in(topo: str | None) -> str:
    from orchestrator.topology.load import load

    assert topo is not None
    return load(topo).name
