"""A process of its own that deploys a lab: ``orchestrate.py RUN_ID DIRECTORY MODE BACKEND < TOPOLOGY``.

Writes ``up`` when the lab is up. MODE: ``attached`` then waits to be killed, ``detached`` leaves the lab and
ends, ``destroying`` removes the lab and then waits to be killed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.backends.base import BACKENDS
from orchestrator.experiment.lasting import deploy_lasting, leave
from tests.lanes.machine import ROOT
from tests.netns.labs import LINE, plan_of


@contextmanager
def orchestrate(
    run_id: str, directory: Path, mode: str, *, backend: str = "netns"
) -> Iterator[subprocess.Popen[str]]:
    """A process that deploys a lab; killed at the end if it was not before."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.netns.orchestrate", run_id, str(directory), mode, backend],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    process.stdin.write(LINE)
    process.stdin.close()
    assert process.stdout is not None
    with process.stdout:
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def await_line(process: subprocess.Popen[str]) -> str:
    """The next line that it says; empty: it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def main(run_id: str, directory: str, mode: str, backend: str) -> None:
    """Deploy what standard input says."""
    plan, place = plan_of(sys.stdin.read()), Path(directory)
    made_by = BACKENDS[backend]()
    if mode == "detached":
        lasting = await deploy_lasting(made_by, plan, run_id=run_id, directory=place, capture=True)
        print("up", flush=True)
        await leave(lasting)
        return
    deployment = await made_by.deploy(plan, run_id=run_id, directory=place)
    print("up", flush=True)
    if mode == "destroying":
        await deployment.destroy()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
