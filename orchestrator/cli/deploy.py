"""Make the lab of a topology and leave it up, or make of one that is up what has changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.support.options import (
    backend_option,
    format_option,
    label_option,
    results_option,
    seed_option,
    set_option,
    topology_options,
    verbose_option,
)

if TYPE_CHECKING:
    from orchestrator.topology.difference import Difference
    from orchestrator.topology.plan import DeploymentPlan
    from orchestrator.wiring.cleanup import LabSummary


@click.command("deploy")
@topology_options
@set_option
@backend_option
@seed_option
@results_option
@click.option("--capture", is_flag=True, help="Capture every link until the lab is destroyed.")
@label_option("Mark the lab, beside the topology's labels; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Say what would be made or changed, and do nothing.")
@click.option("--new", is_flag=True, help="Make another lab, also if one of this name is up.")
@click.option(
    "-l", "--lab", "wanted", metavar="RUN_ID", help="Which lab to change, if several of this name are up."
)
@format_option
@verbose_option
def command(
    file: str,
    parameters: dict[str, str],
    backend: str,
    seed: int | None,
    results: Path,
    capture: bool,
    labels: dict[str, str],
    dry_run: bool,
    new: bool,
    wanted: str | None,
    form: str,
) -> None:
    """Make the lab of the topology FILE and leave it up: nodes, agents, links with their impairments.

    If a lab of this name is up already, only the difference is made: nodes and links come and go,
    impairments change, and all that stays the same is not touched.

    No flows are run. `narrows inspect` shows the lab, `narrows exec` runs commands in its nodes,
    `narrows netem` changes its links, `narrows destroy` removes it.
    """
    import dataclasses

    from orchestrator.cli.support.running import run_to_end
    from orchestrator.experiment.lasting import deploy_and_leave, lab_to_change
    from orchestrator.topology.load import load
    from orchestrator.topology.planning import make_plan

    if new and wanted is not None:
        raise click.UsageError("--new and --lab exclude each other")
    plan = make_plan(load(file, parameters), seed=seed)
    plan = dataclasses.replace(plan, labels={**plan.labels, **labels})
    present = None if new else lab_to_change(plan, backend, wanted)
    if present is not None:
        _change(present, plan, capture=capture, dry_run=dry_run, form=form)
        return
    if dry_run:
        _show_new(plan, form)
        return
    run_id, made_by, deployment = run_to_end(
        deploy_and_leave(plan, backend, directory=results, capture=capture)
    )
    if form == "json":
        told = {
            "lab": plan.name,
            "run_id": run_id,
            "backend": made_by.name,
            "impairment": deployment.impairment.value,
            "nodes": [node.name for node in plan.nodes],
        }
        click.echo(json.dumps(told))
    else:
        click.echo(f"{plan.name} is up, run id {run_id}: {len(plan.nodes)} nodes, {len(plan.links)} links")
        click.echo(f"remove it with: narrows destroy {run_id}")


def _change(present: LabSummary, plan: DeploymentPlan, *, capture: bool, dry_run: bool, form: str) -> None:
    """Make the difference between a lab that is up and a plan, and tell it."""
    import asyncio
    import dataclasses

    from orchestrator.wiring import reconcile

    async def whole() -> Difference:
        found, old, record = await reconcile.compare(present, plan)
        if not dry_run:
            await reconcile.apply(found, old, plan, record, capture=capture)
        return found

    found = asyncio.run(whole())
    if form == "json":
        told = {
            "lab": plan.name,
            "run_id": present.run_id,
            "backend": present.backend,
            "applied": not dry_run,
            "changes": [dataclasses.asdict(change) for change in found.changes],
            "impossible": list(found.impossible),
        }
        click.echo(json.dumps(told))
        return
    for change in found.changes:
        click.echo(str(change))
    for reason in found.impossible:
        click.echo(f"impossible: {reason}")
    count = len(found.changes)
    done = "would be" if dry_run else "is" if count == 1 else "are"
    click.echo(
        f"{plan.name} ({present.run_id}): {count} {'change' if count == 1 else 'changes'} {done} made"
        if count or found.impossible
        else f"{plan.name} ({present.run_id}) is what the file says: nothing to do"
    )


def _show_new(plan: DeploymentPlan, form: str) -> None:
    """Tell what a lab that is not there yet would be made of."""
    made = [("node", node.name) for node in plan.nodes] + [("link", link.name) for link in plan.links]
    if form == "json":
        changes = [
            {"action": "add", "what": what, "name": name, "before": "", "after": ""} for what, name in made
        ]
        told = {"lab": plan.name, "run_id": None, "applied": False, "changes": changes, "impossible": []}
        click.echo(json.dumps(told))
        return
    for what, name in made:
        click.echo(f"add     {what} {name}")
    click.echo(f"{plan.name} is not up: {len(made)} things would be made")
