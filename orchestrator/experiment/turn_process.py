"""A turn in a process of its own: one that hangs is given up, one that is killed takes nothing else with it.

The processes are forked off a server that has the simulator imported already, so that each costs
milliseconds, and nothing of this process (signal handlers, an event loop) goes into them.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
from multiprocessing.connection import Connection
from pathlib import Path

from orchestrator.experiment.cells import Cell, Outcome, Turn, gave_up, run_turn

_SERVER = multiprocessing.get_context("forkserver")


async def run_turn_apart(
    cell: Cell, number: int, directory: Path, limit_seconds: float, *, seed: int | None, capture: bool
) -> Turn:
    """Do what ``run_turn`` does; the process is gone when this returns, or is cancelled.

    Args:
        limit_seconds: of real time, after which it is killed.
    """
    _SERVER.set_forkserver_preload([__name__, "orchestrator.backends.simulation"])
    ours, theirs = _SERVER.Pipe(duplex=False)
    process = _SERVER.Process(
        target=_work, args=(theirs, cell, number, directory, seed, capture), daemon=True
    )
    with ours:
        with theirs:
            process.start()
        try:
            async with asyncio.timeout(limit_seconds):
                await _readable(ours)
            turn = ours.recv()
        except TimeoutError:
            return gave_up(limit_seconds)
        except (EOFError, OSError):
            process.join()
            return Turn(Outcome.ERROR, None, (_ended(process.exitcode),))
        finally:
            process.kill()  # It has nothing to clean up but memory.
            process.join()
    assert isinstance(turn, Turn)
    return turn


def _work(
    answer: Connection, cell: Cell, number: int, directory: Path, seed: int | None, capture: bool
) -> None:
    # Ctrl-C reaches every process of the terminal; it is for the one that started us to end us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    turn = asyncio.run(run_turn(cell, number, directory, seed=seed, capture=capture))
    with contextlib.suppress(BrokenPipeError):  # who asked is gone
        answer.send(turn)


async def _readable(connection: Connection) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection.fileno())


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        return (
            f"its process was killed ({signal.Signals(-code).name}), as for want of memory; "
            "run fewer at once with --jobs"
        )
    return f"its process ended without a result (exit code {code}): what it wrote to stderr says why"
