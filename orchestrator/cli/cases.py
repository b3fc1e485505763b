"""Run the suite of cases: each shows one thing about the transport, and must be able to fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.support.options import BACKENDS, set_option, table_options


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
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the cases (default: topologies/cases of this checkout).",
)
@table_options
def command(
    names: tuple[str, ...],
    listing: bool,
    backends: tuple[str, ...],
    transports: tuple[str, ...],
    parameters: dict[str, str],
    broken: bool,
    directory: Path | None,
    form: str,
    results: Path,
    resume: Path | None,
    **options: Any,
) -> None:
    """Run the cases that are named, by name or letter, or all of them.

    Each case is a topology of its own that shows one thing: those of the QUIC interop runner in their Strait
    form, and ours on top. A case passes (P), fails (F), or is not supported (U) by the back end or the
    transport; M is what this machine lacks, E what could not be tried. Several back ends or transports make
    a table with a column for each. The table is written as HTML and as JSON too.
    """
    import json

    from orchestrator.cli.support.run_tables import case_figure, case_parts, list_tables
    from orchestrator.cli.support.table_page import Page
    from orchestrator.cli.support.table_runs import Kind, make_table, run_and_show
    from orchestrator.cli.support.tables import show_tables
    from orchestrator.experiment.cases import (
        DIRECTORY,
        CaseCell,
        Setting,
        cells_of_cases,
        find_cases,
        suite_json,
    )

    found = find_cases(directory or DIRECTORY, names)
    if listing:
        if form == "json":
            click.echo(json.dumps({"version": 1, "cases": [case.to_json() for case in found]}))
        else:
            show_tables(*list_tables(found))
        return
    settings = [
        Setting(backend, transport, tuple(parameters.items()))
        for backend in dict.fromkeys(backends)
        for transport in dict.fromkeys(transports)
    ]
    cells = cells_of_cases(found, settings, broken=broken, repeats=options.pop("repeat"))
    page: Page[CaseCell] = Page(
        "Wrong settings that cases must notice" if broken else "Cases",
        about=lambda cell: cell.case.about,
        figure=case_figure,
        legend="A figure is the time that the run took on the lab's clock; a curve is the rate of all flows "
        "over that time.",
    )
    kind = Kind("cases", suite_json, case_parts, page)
    table = make_table("cases", cells, results, resume)
    click.get_current_context().exit(run_and_show(kind, table, form=form, **options))
