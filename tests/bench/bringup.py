"""``python -m tests.bench.bringup``: how long labs of many nodes take to come up, and what they cost.

Seconds on a machine that does other things too say little; CPU seconds and memory say more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.backends.base import BACKENDS
from orchestrator.experiment.manifest import new_run_id
from orchestrator.topology.load import parse
from orchestrator.topology.plan import DeploymentPlan
from orchestrator.topology.planning import make_plan
from orchestrator.wiring import processes


@dataclass(frozen=True, slots=True)
class Measured:
    """One lab."""

    backend: str
    nodes: int
    links: int
    captures: bool
    plan_seconds: float
    up_seconds: float
    up_cpu_seconds: float
    down_seconds: float
    load_average: float
    #: Memory that each agent has for itself alone, KiB (the median); 0: no agent is a process of its own.
    agent_kib: int


def plan_of(nodes: int, netem: str) -> DeploymentPlan:
    """Return a star: so many nodes, one of them a router that all others have a link to."""
    text = f"""
name: bringup
topology:
  defaults: {{netem: {{{netem}}}}}
  generate: {{star: {{shape: star, size: {nodes - 1}}}}}
"""
    return make_plan(parse(text.encode(), file="bringup.lab.yml"))


def _cpu(run_id: str) -> float:
    """Seconds of CPU so far: ours, of commands that have ended, of the lab's own processes, of containers."""
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    total = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    total += sum(_times(pid)[0] for pid in processes.of_run(run_id, namespaces=(), known=()))
    return total + sum(_container_cpu())


def _container_cpu() -> Iterator[float]:
    """Seconds of CPU of all containers, and of the engine with what it has started and seen the end of."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            name = Path("/proc", pid, "comm").read_text(encoding="utf-8").strip()
            contained = "/docker/" in Path("/proc", pid, "cgroup").read_text(encoding="utf-8")
            own, ended = _times(int(pid))
        except (OSError, IndexError):
            continue  # it has ended
        if contained:
            yield own
        elif name == "dockerd" or name.startswith("containerd"):
            yield own + ended


def _times(pid: int) -> tuple[float, float]:
    """Seconds of CPU of a process, and of its children that have ended."""
    fields = Path("/proc", str(pid), "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    user, system, ended_user, ended_system = map(int, fields[11:15])
    ticks = os.sysconf("SC_CLK_TCK")
    return (user + system) / ticks, (ended_user + ended_system) / ticks


def _private_kib(run_id: str) -> int:
    """Return the median of what agents have for themselves alone; what forks share is not in it."""
    found = []
    for pid in processes.of_run(run_id, namespaces=(), known=()):
        place = Path("/proc", str(pid))
        if (place / "comm").read_text().startswith("agent "):
            lines = (place / "smaps_rollup").read_text().splitlines()
            found.append(sum(int(line.split()[1]) for line in lines if line.startswith("Private_")))
    return sorted(found)[len(found) // 2] if found else 0


async def measure(plan: DeploymentPlan, backend: str, *, captures: bool, plan_seconds: float) -> Measured:
    """Bring a lab up, look at it, and remove it."""
    with tempfile.TemporaryDirectory(prefix="bringup-") as place:
        run_id = new_run_id()
        cpu, began = _cpu(run_id), time.monotonic()
        deployment = await BACKENDS[backend]().deploy(
            plan, run_id=run_id, directory=Path(place), capture=captures
        )
        up = time.monotonic() - began
        up_cpu = _cpu(run_id) - cpu
        try:
            kib = _private_kib(run_id)
        finally:
            began = time.monotonic()
            await deployment.destroy()
        return Measured(
            backend,
            len(plan.nodes),
            len(plan.links),
            captures,
            round(plan_seconds, 2),
            round(up, 2),
            round(up_cpu, 2),
            round(time.monotonic() - began, 2),
            round(os.getloadavg()[0], 1),
            kib,
        )


def main() -> None:
    """Measure what is asked for, and print one JSON object a lab."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bringup", description=__doc__)
    parser.add_argument("--backend", default="netns")
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--captures", action="store_true")
    parser.add_argument("--netem", default="", help="impairments of each link: delay: 5ms")
    parser.add_argument("--repeat", type=int, default=1)
    given = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    print(json.dumps({"cpus": os.cpu_count(), "open files": [soft, hard]}))
    for nodes in given.nodes:
        for _ in range(given.repeat):
            began = time.monotonic()
            plan = plan_of(nodes, given.netem)
            planned = time.monotonic() - began
            found = asyncio.run(measure(plan, given.backend, captures=given.captures, plan_seconds=planned))
            print(json.dumps(asdict(found)), flush=True)


if __name__ == "__main__":
    main()
