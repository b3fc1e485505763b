"""What control groups leave this process: a container or a service may be allowed less than the machine has.

Each group above it counts too, as far as it is visible. See cgroups(7); both versions are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

#: Where groups are mounted, and what says in which of them this process is.
_MOUNTED, _OURS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def processes_left(mounted: Path = _MOUNTED, ours: Path = _OURS) -> int | None:
    """Return how many more processes and threads may be started; None: as many as the machine allows."""
    return _least(_groups("pids", mounted, ours), lambda group: _left(group, "pids.max", "pids.current"))


def memory_left(mounted: Path = _MOUNTED, ours: Path = _OURS) -> int | None:
    """Return how many bytes of memory may still be taken; None: as many as the machine has."""
    return _least(_groups("memory", mounted, ours), _memory_of)


def _memory_of(group: Path) -> int | None:
    left = _left(group, "memory.max", "memory.current")
    if left is None:
        left = _left(group, "memory.limit_in_bytes", "memory.usage_in_bytes")
    # What was read from files and not written since can be had back at once.
    return None if left is None else left + _statistic(group, "inactive_file")


def _groups(controller: str, mounted: Path, ours: Path) -> Iterator[Path]:
    """Yield the groups that this process is in, from its own upwards."""
    try:
        lines = ours.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = mounted / controllers if controllers else mounted
        group = top / path.lstrip("/")
        yield from (place for place in (group, *group.parents) if place.is_relative_to(top))


def _least(groups: Iterator[Path], left_of: Callable[[Path], int | None]) -> int | None:
    return min((left for group in groups if (left := left_of(group)) is not None), default=None)


def _left(group: Path, limit: str, used: str) -> int | None:
    """Return a limit less what is used of it; None: there is none (``max``, or no such file)."""
    try:
        return max(0, int((group / limit).read_text()) - int((group / used).read_text()))
    except (OSError, ValueError):
        return None


def _statistic(group: Path, name: str) -> int:
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    fields = (line.split() for line in lines)
    return next((int(value) for key, value in fields if key == name), 0)
