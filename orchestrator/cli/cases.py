"""Run the suite of cases: each shows one thing about the transport, and must be able to fail."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.support.options import (
    BACKENDS,
    format_option,
    results_option,
    seed_option,
    set_option,
    verbose_option,
)


@click.command("cases")
@click.argument("names", nargs=-1, metavar="[CASE]...")
@click.option("--list", "listing", is_flag=True, help="List the cases and run none.")
@click.option(
    "--backend",
    "backends",
    metavar="NAME",
    multiple=True,
    default=("simulation",),
    show_default=True,
    help=f"How the labs are made: {', '.join(BACKENDS)}; may be repeated.",
)
@click.option(
    "--transport",
    "transports",
    type=click.Choice(["strait", "quic", "tcp"]),
    multiple=True,
    default=("strait",),
    show_default=True,
    help="What carries the flows, in cases that are not about Strait alone; may be repeated.",
)
@set_option
@click.option("--broken", is_flag=True, help="Run the cases with the wrong settings that they must notice.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    help="Simulations at once (default: one for each CPU); real labs run one after the other.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the cases (default: topologies/cases of this checkout).",
)
@seed_option
@results_option
@format_option
@verbose_option
def command(
    names: tuple[str, ...],
    listing: bool,
    backends: tuple[str, ...],
    transports: tuple[str, ...],
    parameters: dict[str, str],
    broken: bool,
    jobs: int | None,
    directory: Path | None,
    seed: int | None,
    results: Path,
    form: str,
) -> None:
    """Run the cases that are named, by name or letter, or all of them.

    Each case is a topology of its own that shows one thing: those of the QUIC interop runner in their Strait
    form, and ours on top. A case passes, fails with the reasons, or is not supported by the back end or
    the transport. Several back ends or transports make a table with a column for each.
    """
    import json

    from orchestrator.cli.support.case_tables import case_tables, list_tables, suite_exit_code, told
    from orchestrator.cli.support.running import run_to_end
    from orchestrator.cli.support.tables import show_tables
    from orchestrator.experiment.cases import DIRECTORY, Setting, find_cases
    from orchestrator.experiment.suite import run_suite

    found = find_cases(directory or DIRECTORY, names)
    if listing:
        if form == "json":
            click.echo(json.dumps({"version": 1, "cases": [case.to_json() for case in found]}))
        else:
            show_tables(*list_tables(found))
        return
    settings = [
        Setting(backend, transport, tuple(parameters.items()), seed)
        for backend in dict.fromkeys(backends)
        for transport in dict.fromkeys(transports)
    ]
    suite = run_to_end(
        run_suite(
            found,
            settings,
            directory=results,
            broken=broken,
            jobs=jobs,
            on_result=lambda result: click.echo(told(result), err=True),
        )
    )
    if form == "json":
        click.echo(json.dumps(suite.to_json()))
    else:
        show_tables(*case_tables(suite))
    click.get_current_context().exit(suite_exit_code(suite))
