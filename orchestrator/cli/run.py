"""Run a topology: make the lab, run its flows, check every frame, say PASS or FAIL."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.support.options import (
    backend_option,
    format_option,
    label_option,
    results_option,
    rootless_option,
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
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Run it N times, with one seed after the other; whatever the topology says.",
)
@click.option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the verdicts as JUnit XML too.",
)
@click.option(
    "--events",
    metavar="FILE",
    help="Write what happens as lines of JSON while it does; - is stdout, on which nothing else is then.",
)
@label_option("Mark the lab, beside the topology's labels; may be repeated.")
@rootless_option
@format_option
@verbose_option
def command(
    file: str,
    parameters: dict[str, str],
    backend: str,
    seed: int | None,
    results: Path,
    keep: bool,
    labels: dict[str, str],
    no_capture: bool,
    qlog: bool | None,
    calibrate: str | None,
    repeat: int | None,
    junit: Path | None,
    events: str | None,
    form: str,
) -> None:
    """Run a topology, and say PASS or FAIL.

    Makes the lab of the topology FILE, measures its links, runs its flows, captures every link, checks
    every captured frame against the protocol, compares what arrived with what was sent, judges the
    topology's expectations, and removes the lab. Files of the run stay below the results directory.
    """
    import dataclasses

    from orchestrator.cli.support.exit_codes import ExitCode
    from orchestrator.cli.support.reporting import Reporter
    from orchestrator.cli.support.running import run_to_end
    from orchestrator.experiment.repeats import RepeatResult, run_repeatedly
    from orchestrator.experiment.runner import run
    from orchestrator.results import RunResult, Verdict
    from orchestrator.topology.calibrating import Calibrate
    from orchestrator.topology.load import load
    from orchestrator.topology.model import Topology

    topology = load(file, parameters)
    topology = dataclasses.replace(topology, labels={**topology.labels, **labels})
    times = topology.repeats if repeat is None else repeat
    if keep and times > 1:
        raise click.UsageError("--keep leaves one lab up, and this would be several: add --repeat 1")
    reporter = Reporter(form=form, events=events, junit=junit)

    async def once(topology: Topology, with_seed: int | None, place: Path) -> RunResult:
        result = await run(
            topology,
            backend,
            directory=place,
            seed=with_seed,
            capture=not no_capture,
            qlog=qlog,
            keep=keep,
            calibrate=None if calibrate is None else Calibrate(calibrate),
            judge_aggregates=times == 1,
            on_progress=reporter.observe,
        )
        reporter.take(result)
        return result

    result: RunResult | RepeatResult
    with reporter.watching():
        if times > 1:
            result = run_to_end(
                run_repeatedly(topology, times, once, seed=seed, capture=not no_capture, directory=results)
            )
            reporter.take_all(result)
        else:
            result = run_to_end(once(topology, seed, results))
    reporter.finish(result)
    click.get_current_context().exit(ExitCode.OK if result.verdict is Verdict.PASS else ExitCode.FAILED)
