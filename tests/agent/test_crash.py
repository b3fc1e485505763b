"""An error that nobody expected ends the agent: a node that half works would only look like a bad link."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from node.control.client import ControlClient, ControlError
from node.control.messages import Command
from tests.agent.test_processes import PATIENCE, free_ports, go

#: Runs the agent with a core of which one method raises.
BROKEN = """
import sys
from node.core import NodeCore

def broken(self, *arguments, **options):
    raise KeyError("a core that raises")

setattr(NodeCore, sys.argv[1], broken)
if sys.argv[1] == "handle_timeout":
    NodeCore.next_timeout = lambda self: 1
sys.argv[1:] = ["run", "--config", sys.argv[2]]
from node.__main__ import main
sys.exit(main())
"""


async def poke(method: str, control: str, port: int) -> list[str]:
    """Have an agent run into its broken method; return what it reports."""
    client = None
    while client is None:
        try:
            client = await ControlClient.connect_unix(control)
        except ControlError:
            if method == "handle_timeout":
                return []  # it ran into it before anybody could ask
            await asyncio.sleep(0.01)
    if method == "receive":
        # Connected is not yet accepted: the answer shows that the agent knows of us.
        assert (await client.request(Command("status"))).ok
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hello", ("127.0.0.1", port))
    elif method == "handle_command":
        with pytest.raises(ControlError):
            await client.request(Command("status"))
    reported = [str(event.data["message"]) async for event in client.events() if event.kind == "node_failed"]
    await client.close()
    return reported


@pytest.mark.parametrize("method", ["receive", "handle_timeout", "handle_command"])
def test_a_core_that_raises_ends_the_agent_with_the_traceback(method: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    control = str(tmp_path / "control.sock")
    configuration = tmp_path / "lisbon.json"
    configuration.write_text(
        json.dumps(
            {
                "name": "lisbon", "private_key": "11" * 32, "listen": f"127.0.0.1:{port}", "peers": {},
                "control": {"unix": control},
            }
        )
    )  # fmt: skip
    agent = subprocess.Popen(
        [sys.executable, "-c", BROKEN, method, str(configuration)], stderr=subprocess.PIPE, text=True
    )
    try:
        reported: list[str] = []

        async def test() -> None:
            reported.extend(await poke(method, control, port))

        go(test())
        _, said = agent.communicate(timeout=PATIENCE)
    finally:
        agent.kill()
    assert agent.returncode == 1
    assert "Traceback" in said
    assert said.count("KeyError: 'a core that raises'") == 1
    told = "crashed: KeyError: 'a core that raises' (in broken, <string>:6); its log has the traceback"
    assert all(message == told for message in reported)
    if method == "receive":
        assert len(reported) == 1
