"""Run many topologies with many settings, and show what became of each combination."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.support.options import table_options


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
@table_options
def command(
    files: tuple[str, ...],
    settings: dict[str, list[str]],
    parameters: dict[str, list[str]],
    transports: list[str],
    backends: list[str],
    form: str,
    results: Path,
    resume: Path | None,
    **options: Any,
) -> None:
    """Run topologies with all combinations of settings, and make a table of it.

    Each cell is P (passed), F (failed), U (not supported), M (this machine lacks something) or E (could
    not be tried), with the goodput of its flows. Repetitions go in turns, and what fails stops nothing.
    The table is written as HTML and as JSON too.
    """
    from orchestrator.cli.support.run_tables import goodput_figure, matrix_parts
    from orchestrator.cli.support.table_page import Page
    from orchestrator.cli.support.table_runs import Kind, make_table, run_and_show
    from orchestrator.experiment.matrix import MatrixCell, cells_of, matrix_json, wrong_setting

    axes = {**({"protocol": transports} if transports else {}), **settings}
    if (wrong := wrong_setting(axes)) is not None:
        raise click.UsageError(wrong)
    cells = cells_of(files, backends, parameters, axes, repeats=options.pop("repeat"))
    page: Page[MatrixCell] = Page(
        "Matrix",
        about=lambda cell: "",
        figure=goodput_figure,
        legend="A figure is the goodput of all flows together, the mean of the runs with its 95 % interval; "
        "a curve is the rate over the time of each run.",
    )
    kind = Kind("matrix", matrix_json, matrix_parts, page)
    table = make_table("matrix", cells, results, resume)
    click.get_current_context().exit(run_and_show(kind, table, form=form, **options))
