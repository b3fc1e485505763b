"""Run a topology: make the lab, run its flows, check every frame, say PASS or FAIL."""

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


@click.command("run")
@topology_options
@set_option
@backend_option
@seed_option
@results_option
@click.option("--keep", is_flag=True, help="Leave the lab up afterwards; `narrows destroy` removes it.")
@click.option("--no-capture", is_flag=True, help="Capture nothing, so check no frames: for fast links.")
@click.option(
    "--qlog/--no-qlog",
    default=None,
    help="Have both ends of each connection write a qlog file, or not, whatever the topology says.",
)
@click.option(
    "--calibrate",
    type=click.Choice(["warn", "strict", "off"]),
    help="Measure the links first: tell of those that are not as asked, or fail; whatever the topology says.",
)
@format_option
@verbose_option
def command(
    file: str,
    parameters: dict[str, str],
    backend: str,
    seed: int | None,
    results: Path,
    keep: bool,
    no_capture: bool,
    qlog: bool | None,
    calibrate: str | None,
    form: str,
) -> None:
    """Run a topology, and say PASS or FAIL.

    Makes the lab of the topology FILE, runs its flows, captures every link, checks every captured
    frame against the protocol, compares what arrived with what was sent, judges the topology's
    expectations, and removes the lab. Files of the run stay below the results directory.
    """
    import json

    from orchestrator.cli.support.exit_codes import ExitCode
    from orchestrator.cli.support.live import shown
    from orchestrator.cli.support.running import run_to_end
    from orchestrator.experiment.runner import run
    from orchestrator.results import Verdict
    from orchestrator.topology.calibrating import Calibrate
    from orchestrator.topology.load import load

    topology = load(file, parameters)
    with shown(quiet=False) as observer:
        result = run_to_end(
            run(
                topology,
                backend,
                directory=results,
                seed=seed,
                capture=not no_capture,
                qlog=qlog,
                keep=keep,
                calibrate=None if calibrate is None else Calibrate(calibrate),
                on_progress=observer,
            )
        )
    if form == "json":
        click.echo(json.dumps(result.to_json()))
    else:
        from orchestrator.cli.support.tables import run_tables, show_tables

        show_tables(*run_tables(result))
    click.get_current_context().exit(ExitCode.OK if result.verdict is Verdict.PASS else ExitCode.FAILED)
