"""Check a topology file: every mistake at once, each with its line and advice."""

from __future__ import annotations

import click

from orchestrator.cli.support.options import format_option, set_option, topology_options


@click.command("validate")
@topology_options
@set_option
@format_option
def command(file: str, parameters: dict[str, str], form: str) -> None:
    """Check the topology FILE, and whether a plan can be made of it.

    Mistakes are shown on stderr as file:line:column with the line, a caret and advice; the exit
    code is then 2. With -f json they are an object on stdout.
    """
    import json

    from orchestrator.cli.support.exit_codes import ExitCode
    from orchestrator.topology.errors import TopologyError
    from orchestrator.topology.load import load
    from orchestrator.topology.planning import make_plan

    try:
        topology = load(file, parameters)
        make_plan(topology)
    except TopologyError as error:
        if form != "json":
            raise
        problems = [
            {
                "file": error.file_of(problem),
                "line": problem.line,
                "column": problem.column,
                "message": problem.message,
                "advice": list(problem.advice),
            }
            for problem in error.problems
        ]
        click.echo(json.dumps({"file": file, "valid": False, "problems": problems}))
        click.get_current_context().exit(ExitCode.USAGE)
    if form == "json":
        click.echo(json.dumps({"file": file, "valid": True, "problems": []}))
    else:
        parts = {"node": topology.nodes, "link": topology.links, "flow": topology.workloads}
        counts = ", ".join(
            f"{len(things)} {name}{'' if len(things) == 1 else 's'}" for name, things in parts.items()
        )
        click.echo(f"{file}: valid: {topology.name}, {counts}")
