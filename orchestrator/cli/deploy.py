"""Make the lab of a topology and leave it up."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.support.options import (
    backend_option,
    format_option,
    results_option,
    seed_option,
    set_option,
    topology_options,
    verbose_option,
)


@click.command("deploy")
@topology_options
@set_option
@backend_option
@seed_option
@results_option
@click.option("--capture", is_flag=True, help="Capture every link until the lab is destroyed.")
@format_option
@verbose_option
def command(
    file: str,
    parameters: dict[str, str],
    backend: str,
    seed: int | None,
    results: Path,
    capture: bool,
    form: str,
) -> None:
    """Make the lab of the topology FILE and leave it up: nodes, agents, links with their impairments.

    No flows are run. `narrows inspect` shows the lab, `narrows exec` runs commands in its nodes,
    `narrows netem` changes its links, `narrows destroy` removes it.
    """
    import json

    from orchestrator.cli.support.running import run_to_end
    from orchestrator.experiment.lasting import deploy_and_leave
    from orchestrator.topology.load import load
    from orchestrator.topology.planning import make_plan

    plan = make_plan(load(file, parameters), seed=seed)
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
