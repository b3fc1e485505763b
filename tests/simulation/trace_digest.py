"""Prints a digest of everything that happens in a bad lab: run by itself in processes of its own."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from node.control.messages import Command
from node.protocol.time import MILLISECOND
from orchestrator.backends.simulation import SimulationBackend
from tests.support.topologies import impaired, line

BAD = impaired(
    delay="10ms",
    jitter="3ms",
    loss="2%",
    duplicate="1%",
    corrupt="1%",
    reorder="2%",
    rate="20Mbit",
    queue="40p",
)


async def digest(seed: int) -> str:
    """Return a digest of captures, key logs, traces and results of two flows in opposite directions."""
    plan = replace(line(BAD, impaired(delay="2ms"), BAD, seed=seed), qlog=True)
    found = hashlib.sha256()
    with TemporaryDirectory() as directory:
        deployment = await SimulationBackend().deploy(plan, run_id="0" * 8, directory=Path(directory))
        for flow, source, target in (("there", "a", "b"), ("back", "b", "a")):
            for node, role, peer in ((target, "target", source), (source, "source", target)):
                options = {"size": 150_000}
                arguments = {"flow": flow, "workload": "bulk", "role": role, "peer": peer, "options": options}
                reply = await deployment.request(node, Command("start_flow", arguments))
                assert reply.ok, reply.error
        ends = 0
        async for event in deployment.events():
            found.update(repr((event.node, event.kind, event.time, sorted(event.data.items()))).encode())
            ends += event.kind == "flow_finished"
            if ends == 4:
                break
        await deployment.sleep(100 * MILLISECOND)
        collected = await deployment.collect(Path(directory))
        files = [path for paths in collected.captures.values() for path in paths] + collected.key_logs
        traces = _traces(Path(directory))
        assert len(traces) >= 4, traces
        for path in files + traces:
            found.update(path.read_bytes())
        await deployment.destroy()
    return found.hexdigest()


def _traces(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.sqlog"))


if __name__ == "__main__":
    print(asyncio.run(digest(int(sys.argv[1]))))
