"""Whether this machine has room for a lab: looked at before anything of it is made.

A lab of a thousand nodes that fails at the eight hundredth would fail with the message of whatever came to
its limit first, and after a minute.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import EnvironmentMissingError
from orchestrator.topology.model import NodeKind
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.wiring import cgroups
from orchestrator.wiring.captures import ring_mib

#: Descriptors that the orchestrator holds for each agent (its process, twice, and its control connection),
#: and for each capture and shaper; and what it has anyway.
_PER_AGENT, _PER_LINK_PROCESS, _ANYWAY = 3, 2, 128
#: Memory of an agent, a capture or a shaper beyond what forks share; measured by tests/bench/bringup.py.
_AGENT_MIB, _LINK_PROCESS_MIB = 10, 6


@dataclass(frozen=True, slots=True)
class Needs:
    """What a lab needs of its machine."""

    open_files: int
    processes: int
    namespaces: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Room:
    """What the machine has, without asking anybody for more."""

    open_files: int
    processes: int
    namespaces: int
    memory_mib: int


#: What is short → how to get more.
_REMEDIES: Mapping[str, str] = {
    "open_files": "raise it with `ulimit -Hn` as root, or LimitNOFILE= of the service that starts this",
    "processes": "raise kernel.pid_max and kernel.threads-max with sysctl, and of a container or a service "
    "that this runs in its own limit (docker run --pids-limit, TasksMax=)",
    "namespaces": "raise user.max_net_namespaces with sysctl",
    "memory_mib": "end what else runs, leave captures off (--no-capture), take --backend simulation, "
    "or raise the limit of the container or service that this runs in",
}
_WORDS: Mapping[str, str] = {
    "open_files": "open files",
    "processes": "processes",
    "namespaces": "network namespaces",
    "memory_mib": "MiB of memory",
}


def needs_of(plan: DeploymentPlan, *, capture: bool, relays: bool) -> Needs:
    """Return what a lab of namespaces needs at most.

    Args:
        plan: what is to be made.
        capture: whether each link is captured.
        relays: whether links that are impaired have a process that does it.
    """
    hosts = sum(node.kind is NodeKind.HOST for node in plan.nodes)
    links = len(plan.links)
    shaped = sum(bool(link.forward.items or link.reverse.items) for link in plan.links) if relays else 0
    captured = links if capture else 0
    rings = 2 * ring_mib(links) * captured if captured else 0
    return Needs(
        open_files=_ANYWAY + _PER_AGENT * hosts + _PER_LINK_PROCESS * (captured + shaped),
        processes=hosts + captured + shaped + 1,
        namespaces=len(plan.nodes) + links,
        memory_mib=_AGENT_MIB * hosts + _LINK_PROCESS_MIB * (captured + shaped) + rings,
    )


def make_room(needs: Needs) -> None:
    """Allow this process as many open files as it needs, and see that the machine has the rest.

    Raises:
        EnvironmentMissingError: it has not; the message says what is short and how to get more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < needs.open_files and (hard == unlimited or hard >= needs.open_files):
        resource.setrlimit(resource.RLIMIT_NOFILE, (needs.open_files, hard))
    short = shortages(needs, room())
    if short:
        raise EnvironmentMissingError("this machine has no room for this lab:\n" + "\n".join(short))


def shortages(needs: Needs, room: Room) -> list[str]:
    """Return a sentence for each thing that is short."""
    return [
        f"{getattr(needs, name):,} {words} are needed, {getattr(room, name):,} are to be had: "
        f"{_REMEDIES[name]}"
        for name, words in _WORDS.items()
        if getattr(needs, name) > getattr(room, name)
    ]


def room() -> Room:
    """Return what this machine has; what it does not tell is taken for unlimited."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    used = sum(1 for path in Path("/proc").iterdir() if path.name.isdecimal())
    processes = min(_number("/proc/sys/kernel/pid_max"), _number("/proc/sys/kernel/threads-max"))
    allowed, memory = cgroups.processes_left(), cgroups.memory_left()
    return Room(
        open_files=_UNKNOWN if hard == resource.RLIM_INFINITY else hard,
        processes=min(processes - used, _UNKNOWN if allowed is None else allowed),
        namespaces=_number("/proc/sys/user/max_net_namespaces"),
        memory_mib=min(_available_mib(), _UNKNOWN if memory is None else memory >> 20),
    )


_UNKNOWN = 1 << 40


def _number(path: str) -> int:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return _UNKNOWN


def _available_mib() -> int:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return _UNKNOWN
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) >> 10
    return _UNKNOWN
