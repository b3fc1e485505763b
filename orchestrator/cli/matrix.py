"""Run many topologies with many settings, and show what became of each combination."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.support.options import format_option, results_option, seed_option, verbose_option


def _axes(ctx: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> dict[str, list[str]]:
    """Read ``NAME=VALUE,VALUE``."""
    found: dict[str, list[str]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        listed = [value.strip() for value in values.split(",")]
        if not equals or not name or not all(listed):
            raise click.BadParameter(
                f"{word!r} varies nothing; write NAME=VALUE,VALUE, as in congestion=cubic,bbr"
            )
        if name in found:
            raise click.BadParameter(f"{name!r} is given twice; give all its values at once")
        found[name] = list(dict.fromkeys(listed))
    return found


def _words(ctx: click.Context, parameter: click.Parameter, text: str | None) -> list[str]:
    return (
        [] if text is None else list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    )


@click.command("matrix")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--with",
    "settings",
    metavar="NAME=VALUE,...",
    multiple=True,
    callback=_axes,
    help="Give all flows each of these settings of their transport; may be repeated: all combinations.",
)
@click.option(
    "--set",
    "parameters",
    metavar="NAME=VALUE,...",
    multiple=True,
    callback=_axes,
    help="Give a parameter of the topologies each of these values; may be repeated.",
)
@click.option(
    "--transport",
    "transports",
    metavar="NAME,...",
    callback=_words,
    help="Carry all flows by each of these transports: strait, tcp, quic.",
)
@click.option(
    "--backend",
    "backends",
    metavar="NAME,...",
    callback=_words,
    default="auto",
    show_default=True,
    help="Back ends, each of them.",
)
@click.option(
    "--repeat", type=click.IntRange(1, 1000), default=1, show_default=True, help="Runs of each combination."
)
@seed_option
@results_option
@click.option(
    "--resume",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Go on with the matrix of this directory: what is finished there is not run again.",
)
@click.option("--no-capture", is_flag=True, help="Capture nothing, so check no frames: for fast links.")
@format_option
@verbose_option
def command(
    files: tuple[str, ...],
    settings: dict[str, list[str]],
    parameters: dict[str, list[str]],
    transports: list[str],
    backends: list[str],
    repeat: int,
    seed: int | None,
    results: Path,
    resume: Path | None,
    no_capture: bool,
    form: str,
) -> None:
    """Run topologies with all combinations of settings, and make a table of it.

    Each cell is P (passed), F (failed), U (not supported) or E (could not be tried), with the goodput of
    its flows. Repetitions go in turns, and what fails stops nothing. The table is written as HTML and as
    JSON too.
    """
    import json

    from orchestrator.cli.support.exit_codes import ExitCode
    from orchestrator.cli.support.matrix_page import matrix_page
    from orchestrator.cli.support.matrix_runs import shown_turn, single_run, table_of
    from orchestrator.cli.support.running import run_to_end
    from orchestrator.experiment.manifest import new_run_id
    from orchestrator.experiment.matrix import MATRIX_FILE, PAGE_FILE, Matrix, cells_of, run_matrix
    from orchestrator.results import Verdict, make_run_directory, write_atomically

    axes = {**({"protocol": transports} if transports else {}), **settings}
    cells = cells_of(files, backends, parameters, axes)
    directory = resume or make_run_directory(results, "matrix", new_run_id())
    matrix = Matrix(cells, repeat, directory)
    try:
        run_to_end(
            run_matrix(matrix, single_run(capture=not no_capture), seed=seed, on_turn=shown_turn(len(cells)))
        )
    finally:
        # What is there is shown, even of a matrix that was interrupted.
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(directory / MATRIX_FILE, json.dumps(matrix.to_json(), indent=1) + "\n")
        page = matrix_page(matrix, title="Matrix", place=directory)
        write_atomically(directory / PAGE_FILE, page)
    if form == "json":
        click.echo(json.dumps(matrix.to_json()))
    else:
        from orchestrator.cli.support.tables import show_tables

        show_tables(*table_of(matrix))
    code = ExitCode.OK if matrix.verdict is Verdict.PASS else ExitCode.FAILED
    click.get_current_context().exit(code if matrix.supported else ExitCode.NOT_SUPPORTED)
