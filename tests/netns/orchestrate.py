"""A process of its own that deploys a lab: ``orchestrate.py RUN_ID DIRECTORY attached|detached < TOPOLOGY``.

Writes ``up`` when the lab is up. Attached it then waits to be killed; detached it ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from orchestrator.backends.netns import NetnsBackend
from tests.netns.labs import plan_of


async def main(run_id: str, directory: str, mode: str) -> None:
    """Deploy what standard input says."""
    deployment = await NetnsBackend().deploy(
        plan_of(sys.stdin.read()), run_id=run_id, directory=Path(directory), detached=mode == "detached"
    )
    print("up", flush=True)
    if mode == "detached":
        await deployment.leave()
    else:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
