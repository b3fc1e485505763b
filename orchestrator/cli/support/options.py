"""Options that several verbs have, each declared once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

#: A back end is one file: their names are read off the directory, as the verbs' are, without importing any.
_BACKENDS = Path(__file__).parents[2] / "backends"
BACKENDS = sorted(path.stem for path in _BACKENDS.glob("*.py") if path.stem not in ("__init__", "base"))


def topology_options(function: F) -> F:
    """Give a verb its topology file: positional, or ``-t FILE`` as in containerlab."""

    def merged(*args: Any, file: str | None, topo: str | None, **rest: Any) -> Any:
        if (file is None) == (topo is None):
            wrong = "given twice" if file is not None else "missing"
            raise click.UsageError(f"the topology file is {wrong}; write it as FILE or as -t FILE")
        return function(*args, file=file if file is not None else topo, **rest)

    merged.__doc__ = function.__doc__
    merged.__name__ = function.__name__
    if hasattr(function, "__click_params__"):
        merged.__click_params__ = function.__click_params__  # type: ignore[attr-defined]
    option = click.option("-t", "--topo", metavar="FILE", help="Topology file; the same as FILE.")
    return click.argument("file", required=False, metavar="FILE")(option(merged))  # type: ignore[return-value]


def _parameters(ctx: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> dict[str, str]:
    if not words:
        return {}
    from orchestrator.topology.parameters import ParameterError, parse_settings

    try:
        return parse_settings(words)
    except ParameterError as error:
        raise click.UsageError(str(error)) from None


set_option = click.option(
    "--set",
    "parameters",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_parameters,
    help="Give a parameter of the topology another value; may be repeated.",
)


def _labels(ctx: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> dict[str, str]:
    if not words:
        return {}
    from orchestrator.topology.labels import LabelError, parse_labels

    try:
        return parse_labels(words)
    except LabelError as error:
        raise click.UsageError(str(error)) from None


def label_option(text: str) -> Callable[[F], F]:
    """Give a verb the option ``--label KEY=VALUE``, which may be repeated."""
    return click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, callback=_labels, help=text)


def _enter_rootless(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from orchestrator import rootless

    # The words as they were given: the command inside reads them again.
    rootless.enter(sys.argv[1:])


rootless_option = click.option(
    "--rootless",
    is_flag=True,
    expose_value=False,
    callback=_enter_rootless,
    help="Make the lab of namespaces without root, in a user namespace.",
)
format_option = click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="With json, stdout is one JSON object and nothing else.",
)
backend_option = click.option(
    "--backend",
    metavar="NAME",
    default="auto",
    show_default=True,
    help=f"How the lab is made: {', '.join(BACKENDS)}; auto takes the most real one that can run here.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0, max=2**63 - 1), help="Take this seed instead of the topology's."
)
results_option = click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Directory that keeps the files of each run.",
)


def _set_up_logging(ctx: click.Context, parameter: click.Parameter, value: int) -> None:
    import logging

    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(value, 2)]
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", force=True)


verbose_option = click.option(
    "-v",
    "--verbose",
    count=True,
    expose_value=False,
    callback=_set_up_logging,
    help="Tell more on stderr; -vv tells all.",
)


def table_options(function: F) -> F:
    """Give a verb that runs a table of cells the options that all such verbs have."""
    from orchestrator.cli.support.durations import DURATION

    options = (
        click.option(
            "--repeat",
            type=click.IntRange(1, 1000),
            metavar="N",
            help="Runs of each cell, with one seed after the other; whatever the topologies say.",
        ),
        seed_option,
        results_option,
        click.option(
            "--resume",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="Go on with the table of this directory: what is finished there is not run again.",
        ),
        click.option(
            "-j",
            "--jobs",
            type=click.IntRange(min=1),
            metavar="N",
            help="Simulations at once (default: one for each CPU); real labs run one after the other.",
        ),
        click.option(
            "--limit",
            type=DURATION,
            default="1h",
            show_default=True,
            help="Give a run up after so much real time, as one that hangs.",
        ),
        click.option(
            "--no-capture", is_flag=True, help="Capture nothing, so check no frames: for fast links."
        ),
        click.option(
            "--strict", is_flag=True, help="Fail too if a cell is not supported, or cannot run here."
        ),
        format_option,
        verbose_option,
    )
    for option in reversed(options):
        function = option(function)
    return function
