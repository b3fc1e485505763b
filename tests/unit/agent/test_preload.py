"""What is preloaded before agents are forked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from orchestrator.wiring.forkserver import AGENT_MODULES

#: An agent that starts, answers and ends in a process that has imported what a fork server has.
_SCRIPT = """
import asyncio, importlib, os, signal, sys
from pathlib import Path
for module in sys.argv[2:]:
    importlib.import_module(module)
from node.agent.configuration import load_file
from node.agent.run import Agent

async def run(control):
    agent = asyncio.create_task(Agent(load_file(Path(sys.argv[1]))).run())
    while not control.exists():
        await asyncio.sleep(0.005)
    found = set(sys.modules)
    os.kill(os.getpid(), signal.SIGTERM)
    await agent
    return found

before = set(sys.modules)
print(*sorted(asyncio.run(run(Path(sys.argv[1]).with_name("control.sock"))) - before))
"""


def test_an_agent_that_starts_imports_nothing_that_was_not_preloaded(tmp_path: Path) -> None:
    configuration = tmp_path / "agent.json"
    configuration.write_text(
        f'{{"name": "a", "private_key": "{"01" * 32}", "listen": {{"host": "127.0.0.1", "port": 0}},'
        f' "control": {{"unix": "{tmp_path}/control.sock"}}, "key_log": "{tmp_path}/a.keylog",'
        f' "files_directory": "{tmp_path}", "results_directory": "{tmp_path}"}}',
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(configuration), *AGENT_MODULES],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
