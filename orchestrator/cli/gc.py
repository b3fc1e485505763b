"""Remove what labs left whose makers have died, and old results."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.support.durations import DURATION
from orchestrator.cli.support.options import format_option, label_option, verbose_option


@click.command("gc")
@click.option(
    "--older-than", type=DURATION, default=0, metavar="DURATION", help="Only what is older, as 90s; 0: all."
)
@label_option("Only labs with this label; KEY= for any value. May be repeated.")
@click.option("--deployed", is_flag=True, help="Also labs that deploy or run --keep left up on purpose.")
@click.option(
    "--results",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Also remove runs in this results directory; needs --older-than.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be removed, and do nothing.")
@format_option
@verbose_option
def command(
    older_than: int,
    labels: dict[str, str],
    deployed: bool,
    results: Path | None,
    dry_run: bool,
    form: str,
) -> None:
    """Remove the processes, namespaces, links, containers and state of labs whose makers have died.

    A lab that a running process owns is never touched, nor one whose journal is kept elsewhere. Without
    --label, images of ours go too whose names went to newer ones, unless a container uses them.
    """
    import json
    import time

    from node.protocol.time import SECOND
    from orchestrator.containers.untagged import remove_untagged, untagged
    from orchestrator.wiring import garbage

    if results is not None and not older_than:
        raise click.UsageError("--results removes runs for good: say --older-than DURATION too")
    labs = garbage.dead_labs(older_than, labels, deployed=deployed)
    runs = garbage.old_runs(results, older_than) if results is not None and not labels else []
    if results is not None and labels:
        raise click.UsageError("--label finds labs, and runs have none: leave --results out")
    removed = labs if dry_run else garbage.remove(labs, runs)
    # After the labs, whose containers may have used them.
    images = [] if labels else untagged(time.time() - older_than / SECOND if older_than else None)
    if not dry_run:
        images = remove_untagged(images)
    if form == "json":
        told = {
            "removed": not dry_run,
            "labs": [{"lab": lab.name, "run_id": lab.run_id, "backend": lab.backend} for lab in removed],
            "runs": [str(run) for run in runs],
            "images": images,
        }
        click.echo(json.dumps(told))
        return
    done = "would be removed" if dry_run else "removed"
    for lab in removed:
        click.echo(f"{done}: {lab.name or 'a lab'} ({lab.run_id})")
    for run in runs:
        click.echo(f"{done}: {run}")
    for image in images:
        click.echo(f"{done}: image {image}")
    if not (removed or runs or images):
        click.echo("there is nothing to remove", err=True)
