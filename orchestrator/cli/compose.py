"""Print a topology as docker-compose.yml."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.support.options import topology_options


@click.command("compose")
@topology_options
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write there instead of to stdout.",
)
def command(file: str, output: Path | None) -> None:
    """Print a topology as docker-compose.yml.

    The file in this project is made by `narrows compose topologies/demo.lab.yml -o docker-compose.yml`.
    The topology must lie in topologies/: the orchestrator's image holds that directory.
    """
    from orchestrator.compose.generate import generate
    from orchestrator.topology.load import load

    text = generate(load(file), f"topologies/{Path(file).name}")
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
