"""Print what a topology would be deployed as, without deploying it."""

from __future__ import annotations

import json

import click

from orchestrator.cli.support.options import set_option, topology_options


@click.command("plan")
@topology_options
@set_option
@click.option(
    "--seed", type=click.IntRange(min=0, max=2**63 - 1), help="Take this seed instead of the topology's."
)
def command(file: str, parameters: dict[str, str], seed: int | None) -> None:
    """Print the deployment plan of a topology as JSON.

    The plan holds everything that a back end makes: nodes, addresses, routes, links with their
    impairments, flows. The lab's private keys, which follow from the seed, are in it.
    """
    from orchestrator.topology.load import load
    from orchestrator.topology.planning import make_plan

    plan = make_plan(load(file, parameters), seed=seed)
    click.echo(json.dumps(plan.to_json(), indent=2))
