"""Runs a coroutine so that Ctrl-C and SIGTERM end it in order: what it made is removed first."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

from orchestrator.cli.support.exit_codes import ExitCode

T = TypeVar("T")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` returns.

    The first signal cancels it, and it cleans up; Ctrl-C after that ends the process at once, and what is
    left stands in the journal, for ``narrows destroy --all``. SIGTERM does not: timeout(1) sends it to its
    child and then to its group, so to the child twice, and who is in haste has SIGKILL.

    Raises:
        KeyboardInterrupt: it was interrupted, and has cleaned up.
    """
    return asyncio.run(_interruptible(work))


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    interrupted = False

    def on_signal(number: signal.Signals) -> None:
        nonlocal interrupted
        if interrupted and number is signal.SIGTERM:
            return
        if interrupted:
            click.echo("ended at once; `narrows destroy --all` removes what is left", err=True)
            os._exit(ExitCode.INTERRUPTED)
        interrupted = True
        click.echo("interrupted: removing the lab; Ctrl-C from now on leaves it as it is", err=True)
        task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
