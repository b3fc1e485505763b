"""Do a run again in the simulator, each packet with the fate that was recorded."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.support.options import format_option, results_option, seed_option, verbose_option


@click.command("replay")
@click.argument("recorded", type=click.Path(exists=True, path_type=Path), metavar="RUN|FILE")
@seed_option
@results_option
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Only write the recording into this file, plan and all, and run nothing.",
)
@click.option("--qlog", is_flag=True, help="Have both ends of each connection write a qlog file.")
@format_option
@verbose_option
def command(
    recorded: Path, seed: int | None, results: Path, save: Path | None, qlog: bool, form: str
) -> None:
    """Do a run again on virtual time, and say PASS or FAIL.

    RUN is the directory of a run on any back end that captured its links: what became of each packet is
    read from its captures, and happens again to the packet of the same number on the same link. FILE is
    what --save wrote: one file that holds all of it, for a report or a test. The nodes' own chance is
    not in captures; it comes from the seed.
    """
    from orchestrator.cli.support.exit_codes import ExitCode
    from orchestrator.cli.support.reporting import Reporter
    from orchestrator.cli.support.running import run_to_end
    from orchestrator.experiment.replay import Recording, replay
    from orchestrator.results import Verdict

    recording = Recording.of_run(recorded) if recorded.is_dir() else Recording.read(recorded)
    if save is not None:
        recording.write(save)
        packets = sum(map(len, recording.fates.values()))
        lost = sum(fate == () for fates in recording.fates.values() for fate in fates)
        click.echo(f"{save}: {packets} packets on {len(recording.fates)} ways, {lost} lost")
        return
    reporter = Reporter(form=form, events=None, junit=None)
    with reporter.watching():
        work = replay(recording, directory=results, seed=seed, qlog=qlog, on_progress=reporter.observe)
        result = run_to_end(work)
    reporter.finish(result)
    click.get_current_context().exit(ExitCode.OK if result.verdict is Verdict.PASS else ExitCode.FAILED)
