"""Say what this machine can do, found out by trying, and how to get the rest."""

from __future__ import annotations

import click

from orchestrator.cli.support.options import format_option


@click.command("doctor")
@format_option
def command(form: str) -> None:
    """Try what labs need of this machine, and say how to get what is missing.

    The exit code is 0 whatever is missing: simulation runs anywhere.
    """
    import dataclasses
    import json

    from orchestrator import doctor

    findings = doctor.examine()
    choice = doctor.best_backend()
    if form == "json":
        told = {
            "backend": choice.backend,
            "why": choice.why,
            "findings": [dataclasses.asdict(finding) for finding in findings],
        }
        click.echo(json.dumps(told))
        return
    from rich.text import Text

    from orchestrator.cli.support.tables import show_tables, table

    rows = [
        (
            Text("ok", style="green") if found.ok else Text("no", style="yellow"),
            found.name,
            found.detail,
            found.remedy,
        )
        for found in findings
    ]
    show_tables(
        table("This machine", ("", "what", "found", "what to do"), rows),
        Text(f"--backend auto takes {choice.backend}: {choice.why}"),
    )
