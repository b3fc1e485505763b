"""Attack or measure a lab while its flows run, by a probe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.support.options import (
    backend_option,
    format_option,
    results_option,
    seed_option,
    set_option,
    verbose_option,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.topology.model import LinkEndpoint


@click.command("probe")
@click.argument("name", required=False, metavar="NAME")
@click.argument("file", required=False, metavar="FILE")
@click.option("--list", "listed", is_flag=True, help="Say which probes there are, and what each does.")
@click.option("--at", metavar="ENDPOINT", help="Where it acts, as a:eth1; else the first link's first end.")
@click.option("--duration", default="2s", show_default=True, help="How long, of the lab's clock.")
@set_option
@backend_option
@seed_option
@results_option
@format_option
@verbose_option
def command(
    name: str | None,
    file: str | None,
    listed: bool,
    at: str | None,
    duration: str,
    parameters: dict[str, str],
    backend: str,
    seed: int | None,
    results: Path,
    form: str,
) -> None:
    """Run the probe NAME on the lab of the topology FILE, beside its flows; --list says which there are.

    The verdict is of three parts: what the probe says itself, whether the flows came through unharmed,
    and whether every captured frame keeps the protocol, answers to the probe included.
    """
    import json

    from orchestrator.cli.support.exit_codes import ExitCode
    from orchestrator.cli.support.running import run_to_end
    from orchestrator.experiment.probing import probe
    from orchestrator.probes.base import PROBES
    from orchestrator.topology.load import load

    if listed:
        told = {known: (PROBES[known].__doc__ or "").strip().splitlines()[0] for known in PROBES.names()}
        text = json.dumps(told) if form == "json" else "\n".join(f"{k:12} {v}" for k, v in told.items())
        click.echo(text)
        return
    if file is None and name is not None and Path(name).suffix in (".yml", ".yaml"):
        load(name, parameters)  # its mistakes are worth more than a missing word
    if name is None or file is None:
        found_words = f"found {name!r} alone" if name is not None else "neither is there"
        raise click.UsageError(f"write NAME and FILE: {found_words}; probes are {', '.join(PROBES.names())}")
    topology = load(file, parameters)
    found = run_to_end(
        probe(
            topology,
            name,
            backend,
            directory=results,
            endpoint=_endpoint(at),
            duration=_duration(duration),
            seed=seed,
        )
    )
    if form == "json":
        click.echo(json.dumps(found.to_json()))
    else:
        click.echo(f"{name}: {'PASS' if found.passed else 'FAIL'} ({found.backend})")
        if found.result.table:
            _show_table(found.result.table)
        for figure, value in found.result.figures.items():
            click.echo(f"  {figure.replace('_', ' ')}: {value:g}")
        for line in (*found.result.notes, *found.failures, *found.wire.details, *found.notes):
            click.echo(f"  {line}")
        click.echo(f"  {found.wire.frames} frames checked, {found.wire.violations} break the protocol")
    click.get_current_context().exit(ExitCode.OK if found.passed else ExitCode.FAILED)


def _show_table(rows: Sequence[Mapping[str, object]]) -> None:
    from orchestrator.cli.support.tables import show_tables, table

    columns = [f"{'' if isinstance(value, str) else '>'}{name}" for name, value in rows[0].items()]
    cells = [
        [
            "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
            for value in row.values()
        ]
        for row in rows
    ]
    show_tables(*table("", columns, cells).renderables[2:])


def _endpoint(text: str | None) -> LinkEndpoint | None:
    from orchestrator.topology.model import LinkEndpoint

    if text is None:
        return None
    node, colon, interface = text.partition(":")
    if not (node and colon and interface):
        raise click.UsageError(f"--at: found {text!r}, write an endpoint as NODE:INTERFACE, like a:eth1")
    return LinkEndpoint(node, interface)


def _duration(text: str) -> int:
    from node.links.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.UsageError(f"--duration: {error}") from None
