"""Run a command in a node of a lab that is up."""

from __future__ import annotations

import click


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-l", "--lab", help="Name or run id of the lab; not needed when one is up.")
@click.argument("node")
@click.argument("argv", nargs=-1, required=True, metavar="COMMAND...")
def command(lab: str | None, node: str, argv: tuple[str, ...]) -> None:
    """Run COMMAND in NODE of a lab that is up, on this terminal; its exit code is ours.

    For example: narrows exec lisbon ping -c 3 10.0.0.6
    """
    from orchestrator.wiring import live

    click.get_current_context().exit(live.execute(live.find(lab), node, argv))
