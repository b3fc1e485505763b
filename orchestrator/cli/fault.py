"""Disturb a lab that is up: cut links, crash nodes, move sockets, and undo it."""

from __future__ import annotations

import click

from orchestrator.cli.support.options import format_option

lab_option = click.option("-l", "--lab", help="Name or run id of the lab; not needed when one is up.")


@click.command("fault")
@lab_option
@click.option("--for", "duration", metavar="TIME", help="It ends by itself after this: 5s, 500ms.")
@click.argument("action")
@click.argument("words", nargs=-1, metavar="ARGUMENT...")
@format_option
def command(lab: str | None, duration: str | None, action: str, words: tuple[str, ...], form: str) -> None:
    """Disturb a lab that is up: cut links, crash nodes, move sockets, and undo it.

    \b
    narrows fault cut b:eth1 --for 5s        all actions of a topology's timeline: set, cut,
    narrows fault set a:eth1 loss=5%         one-way-cut, heal, partition, flap, disable,
    narrows fault partition a,r1 b           enable, crash, pause, restart, rebind, migrate,
    narrows fault crash r1                   nat-timeout, nat-flush, traffic
    narrows fault rebind a port=true
    narrows fault list                       which are on, and for how long
    narrows fault clear [NUMBER...]          end these, or all

    With --for it ends by itself, whatever becomes of this command.
    """
    import asyncio
    import json

    from orchestrator.wiring import live, live_faults

    record = live.find(lab)
    if action == "list":
        _list(record.run_id, form)
        return
    if action == "clear":
        numbers = [_number(word) for word in words] or None
        ended = asyncio.run(live_faults.end(record, numbers))
        if form == "json":
            click.echo(json.dumps({"cleared": [entry.id for entry in ended]}))
        for entry in ended if form != "json" else ():
            click.echo(f"cleared {entry.id}: {entry.action} {entry.subject}")
        return
    from orchestrator.faults.base import FaultError
    from orchestrator.wiring.fault_words import read_words

    try:
        value, lasts = read_words(action, list(words), duration)
        number, told = asyncio.run(live_faults.begin(record, action, value, lasts))
    except FaultError as error:
        raise click.UsageError(f"{action}: {error}") from error
    if form == "json":
        click.echo(json.dumps({"fault": number, "action": action, "detail": told}))
    else:
        until = f", for {duration}" if duration else ""
        click.echo(f"fault {number}: {action} {' '.join(words)}{until}" + (f": {told}" if told else ""))


def _list(run_id: str, form: str) -> None:
    import json
    import time

    from orchestrator.wiring import fault_book

    now = time.monotonic_ns()
    entries = [
        {
            "fault": entry.id,
            "action": entry.action,
            "subject": entry.subject,
            "seconds": round((now - entry.began) / 1e9, 3),
            "seconds_left": None if entry.until is None else round((entry.until - now) / 1e9, 3),
            "overdue": entry.overdue,
        }
        for entry in fault_book.read(run_id).entries
    ]
    if form == "json":
        click.echo(json.dumps({"faults": entries}))
        return
    from orchestrator.cli.support.tables import show_tables, table

    rows = [
        (
            str(entry["fault"]),
            str(entry["action"]),
            str(entry["subject"]),
            f"{entry['seconds']}",
            "overdue: clear it" if entry["overdue"] else str(entry["seconds_left"] or "until cleared"),
        )
        for entry in entries
    ]
    show_tables(table("Faults", (">no", "action", "of", ">s on", ">s left"), rows))


def _number(word: str) -> int:
    if not word.isdigit():
        raise click.UsageError(f"found {word!r}, must be the number of a fault: see narrows fault list")
    return int(word)
