"""The process that ends one action on a lab when its time has come: ``python -m orchestrator.wiring.expiry``.

It is started before the action begins, belongs to the lab (destroying the lab ends it), and outlives the
command that asked for the action.
"""

from __future__ import annotations

import asyncio
import sys
import time

from node.protocol.time import SECOND, Instant
from orchestrator.errors import BackendError
from orchestrator.faults.base import FAULTS
from orchestrator.wiring import fault_book, live_faults, state


async def expire(run_id: str, number: int) -> None:
    """Wait for the end of an action, taking it through its steps on the way, and end it.

    Raises:
        BackendError: it cannot be ended; then it stays on the list.
    """
    # The lock is free when the action has begun, or has failed to.
    with fault_book.locked(run_id) as book:
        try:
            entry = book.entry(number)
        except BackendError:
            return
    lab = state.load(run_id)
    if lab is None or entry.until is None:
        return
    fault = FAULTS[entry.action](entry.value, live_faults.view_of(lab))
    steps = [(entry.began + at, lasts) for at, lasts in fault.steps(entry.until - entry.began)]
    for index, (begins, lasts) in enumerate(steps):
        if index:
            await _sleep_until(begins)
            if not _is_on(run_id, number):
                return
            await live_faults.switch(lab, number, on=True)
        await _sleep_until(entry.until if lasts is None else begins + lasts)
        if index + 1 < len(steps) and _is_on(run_id, number):
            await live_faults.switch(lab, number, on=False)
    await _sleep_until(entry.until)
    if _is_on(run_id, number):
        await live_faults.end(lab, [number])


def _is_on(run_id: str, number: int) -> bool:
    """Return whether an action is still on: another command may have ended it."""
    return any(entry.id == number for entry in fault_book.read(run_id).entries)


async def _sleep_until(instant: Instant) -> None:
    await asyncio.sleep(max(0, instant - time.monotonic_ns()) / SECOND)


if __name__ == "__main__":
    asyncio.run(expire(sys.argv[1], int(sys.argv[2])))
