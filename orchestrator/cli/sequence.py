"""Draw the packets of a run as a message sequence diagram: text or SVG."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.support.durations import DURATION


@click.command("sequence")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["text", "svg"]),
    default="text",
    show_default=True,
    help="What to write.",
)
@click.option("-n", "--node", "nodes", multiple=True, help="Only packets to or from NODE; may be repeated.")
@click.option("--from", "begin", type=DURATION, default="0s", help="Leave out what was sent before.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Packets to draw at most."
)
def command(run: Path, form: str, nodes: tuple[str, ...], begin: int, limit: int) -> None:
    """Draw who sent what to whom, and when it arrived, from the captures in RUN, a run's directory.

    For example: narrows sequence results/line-1a2b3c4d --limit 20; with -f svg > line.svg a browser
    shows it. Times count from the first packet.
    """
    from orchestrator.cli.support.sequence_diagram import RENDERERS
    from orchestrator.experiment.kept import find_run
    from orchestrator.probes.wire.sequence import arrows

    found = find_run(run)
    known = [node.name for node in found.plan.nodes]
    for name in nodes:
        if name not in known:
            raise click.UsageError(f"the run has no node {name!r}: use one of {', '.join(known)}")
    every = list(arrows(found.plan, found.collected))
    if not every:
        raise click.UsageError(f"the captures in {run} hold no packets of Strait")
    start = every[0].sent
    wanted = [
        arrow
        for arrow in every
        if arrow.sent - start >= begin and (not nodes or {arrow.source, arrow.target} & set(nodes))
    ]
    click.echo(RENDERERS[form](wanted[:limit], start, known), nl=False)
    if len(wanted) > limit:
        click.echo(f"{len(wanted) - limit} more packets: raise --limit, or begin later with --from", err=True)
