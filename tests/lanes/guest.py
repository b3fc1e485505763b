"""Commands inside User-Mode Linux, with this machine's files as they are and a kernel that has netem."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.lanes import machine, setup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

#: Idle time is skipped, CPU work takes its time (see `time-travel` in the kernel's --help).
TIME_TRAVEL = "time-travel"


def command(
    argv: Sequence[str],
    *,
    limit_seconds: float,
    virtual_time: bool = True,
    writable: Iterable[Path] = (),
    disks: Iterable[str] = (),
    memory: str = "3G",
) -> tuple[list[str], dict[str, str]]:
    """The argument list and environment that run ``argv`` in a guest.

    Args:
        argv: What to run, with paths of this machine.
        limit_seconds: Real seconds for all, after which the status is 124.
        virtual_time: Skip idle time, where the kernel can.
        writable: Directories whose changes reach this machine; all other writes are thrown away.
        disks: Images for /dev/ubda, ubdb …, each ``FILE``, ``FILE:ro`` or ``FILE:cow``.
        memory: Of the guest, taken lazily.

    Raises:
        setup.SetUpFailedError: no kernel is there and none could be had.
    """
    kernel = setup.guest_kernel()
    run = [str(machine.SCRIPTS / "run-in-uml"), "-t", str(limit_seconds), "-m", memory]
    run += ["--kernel", str(kernel.path)]
    environment = {**os.environ, "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis"}
    if virtual_time and kernel.time_travel:
        run += ["--append", TIME_TRAVEL]
        environment[machine.TIME_TRAVEL_VARIABLE] = "1"
    for directory in writable:
        run += ["-w", str(directory)]
    for disk in disks:
        run += ["-d", disk]
    return [*run, "--", *argv], environment
