"""Commands inside User-Mode Linux, with this machine's files as they are and a kernel that has netem."""

from __future__ import annotations

import os
from enum import Enum
from typing import TYPE_CHECKING

from tests.lanes import machine, setup

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class Clock(Enum):
    """The guest's time, where its kernel can travel; where it cannot, time is this machine's."""

    #: Work takes the time that it takes here, idle time is skipped. An engine with containers needs this.
    WORKING = "time-travel"
    #: Work takes no time: delays and rates are exact, whatever else this machine does.
    IDEAL = "time-travel=inf-cpu"


def command(
    argv: Sequence[str],
    *,
    limit_seconds: float,
    clock: Clock = Clock.IDEAL,
    writable: Iterable[Path] = (),
    disks: Iterable[str] = (),
    memory: str = "3G",
) -> tuple[list[str], dict[str, str]]:
    """The argument list and environment that run ``argv`` in a guest.

    Args:
        argv: What to run, with paths of this machine.
        limit_seconds: Real seconds for all, after which the status is 124.
        clock: What time means in there.
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
    if kernel.time_travel:
        run += ["--append", clock.value]
        if clock is Clock.IDEAL:
            environment[machine.TIME_TRAVEL_VARIABLE] = "1"
    for directory in writable:
        run += ["-w", str(directory)]
    for disk in disks:
        run += ["-d", disk]
    return [*run, "--", *argv], environment
