"""Write a topology as a docker-compose.yml that `docker compose up` runs."""

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
    help="File to write; stdout if it is not given.",
)
def command(file: str, output: Path | None) -> None:
    """Write the topology FILE as a Compose file: nodes, link networks and the orchestrator.

    docker-compose.yml beside this project's README is what `narrows compose topologies/demo.lab.yml`
    writes. FILE must lie in the checkout: the orchestrator's container runs the same file.
    """
    from orchestrator.compose.generate import generate
    from orchestrator.results import write_atomically
    from orchestrator.topology.load import load

    text = generate(load(file), path=file)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomically(output, text)
        click.echo(f"wrote {output}", err=True)
