"""Verbs that measure between two machines, or between two hosts of a lab that is up."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

#: iperf3's is 5201.
DEFAULT_PORT = 5301
#: What iperf3's letters mean.
_LETTERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def lab_forms(function: F) -> F:
    """Give a verb ``--lab LAB`` and the two hosts."""
    option = click.option("--lab", help="Name or run id of a lab that is up; not needed when one is.")
    return click.argument("ends", nargs=-1, metavar="[FROM TO]")(option(function))


def amount(text: str, *, base: int) -> int:
    """Return ``10M`` as a number, with letters of powers of ``base``.

    Raises:
        click.UsageError: it is none.
    """
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([KMGT]?)", text.strip().upper())
    if match is None:
        raise click.UsageError(f"found {text!r}, must be a number with K, M, G or T, as 10M")
    return round(float(match[1]) * float(base ** _LETTERS[match[2]]))


def inside_lab(verb: str, lab: str | None, ends: tuple[str, ...]) -> int:
    """Run a server in the one host's namespace and the client in the other's; return the client's exit code.

    The options of this very command line go to the client.

    Raises:
        BackendError: there is no such lab or host (of these NotInLabError), or the server does not come up.
    """
    from pathlib import Path

    from orchestrator.errors import NotInLabError
    from orchestrator.executor import Executor
    from orchestrator.wiring import live

    if len(ends) != 2:
        raise click.UsageError(f"give two hosts of the lab, found {len(ends)}")
    record = live.find(lab)
    source, target = (record.node(name) for name in ends)
    for node in (source, target):
        if node.is_router:
            raise NotInLabError(f"{node.name} is a router: give two hosts")
    given = click.get_current_context().params
    port = str(given["port"])
    ours = [sys.executable, "-m", "orchestrator"]
    log = Path(record.directory) / "logs" / f"{verb}-{target.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    executor = Executor()
    server = executor.spawn(
        [*ours, "perf", "-s", "-1", "-p", port, "-B", target.ipv4],
        namespace=Path(target.namespace),
        log=log,
        environment={},
        attached=True,
    )
    try:
        argv = [*ours, verb, *(["-c", target.ipv4] if verb == "perf" else [target.ipv4]), *_options(given)]
        return executor.call(argv, namespace=Path(source.namespace))
    finally:
        _end(server)


def _end(server: Any) -> None:
    """End a server that has not ended by itself."""
    import signal

    if server.poll() is None:
        server.send(signal.SIGTERM)
        if server.wait_blocking(5.0) is None:
            server.send(signal.SIGKILL)
            server.wait_blocking(5.0)


def _options(given: dict[str, Any]) -> list[str]:
    """Return the options of this command line, for another one of the same verb."""
    words = []
    for parameter in click.get_current_context().command.params:
        value = given.get(str(parameter.name))
        skipped = parameter.name in ("ends", "lab", "server", "host", "bind", "one_off", "key")
        if skipped or not isinstance(parameter, click.Option) or value in (None, False):
            continue
        words += [parameter.opts[-1]] if value is True else [parameter.opts[-1], str(value)]
    return words
