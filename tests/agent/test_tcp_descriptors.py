"""A node that runs out of descriptors lets TCP connections wait, and does not spin."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import socket
import subprocess
import sys
import time

from node.agent.transports import TcpDriver
from node.agent.udp import new_event_loop
from node.control.messages import Command
from node.core import NodeCore
from node.protocol.identity import Identity, Peer
from node.settings import NodeSettings
from node.transports.tcp import TcpEndpoint
from node.workloads.flow import FlowHeader
from node.workloads.sources import generated_source, null_sink

#: Descriptors that are left, connections that want one.
PLACES, CLIENTS = 3, 6
TIME_LIMIT = 60.0


def test_a_node_without_descriptors_lets_connections_wait_and_does_not_spin() -> None:
    """In a process of its own, whose limit of open files is low."""
    argv = [sys.executable, "-m", __name__]
    found = subprocess.run(argv, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    # Two steps for each second's try; of a listener that was not let alone they were thousands.
    assert told["steps while full"] <= 2 * told["seconds while full"] + 4
    assert told["flow without a descriptor"] == "the kernel gives no TCP socket: Too many open files"
    assert told["served"] == CLIENTS
    assert found.stderr.count("takes no connection for now: Too many open files, with 3 open") == 1
    assert "ulimit -n" in found.stderr


class Scarce:
    """A node for TCP in this process, and its clients, which wait in the backlog of its listener."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = probe.getsockname()
        settings = NodeSettings(
            "right", b"r" * 32, address, {"left": Peer(Identity(b"l" * 32).public_key, ("127.0.0.2", 1))}
        )
        self.endpoint, self.steps, self._news = TcpEndpoint(settings), 0, asyncio.Event()
        self.core = NodeCore(
            settings,
            rng=random.Random(1),
            source_of=generated_source,
            sink_of=null_sink,
            carrier=self.endpoint,
        )
        self.driver = TcpDriver(self.core, self.endpoint, on_drained=self._count)
        assert self.start_flow("first") == ""
        self.clients = [socket.create_connection(address) for _ in range(CLIENTS)]
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + PLACES, highest + 1 + PLACES))
        self.others: list[int] = []
        self._fill()
        for _ in range(PLACES):
            os.close(self.others.pop())

    def start_flow(self, name: str) -> str:
        """Expect a flow, and return why not."""
        arguments = {"flow": name, "workload": "echo", "role": "target", "peer": "left"}
        reply = self.core.handle_command(Command("start_flow", arguments), now=self.driver.now())
        return reply.error

    async def accepted(self, count: int) -> None:
        """Wait until so many connections are open."""
        while len(self.endpoint.connections) < count:
            self._news.clear()
            await self._news.wait()

    async def refuse(self) -> int:
        """Let all clients ask for a flow that nobody expects; return how many were told so."""
        header, told = FlowHeader("nobody's", "echo").encode(), 0
        for client in self.clients:
            client.sendall(header)
            client.setblocking(False)
        for client in self.clients:
            try:
                told += await asyncio.get_running_loop().sock_recv(client, 1) == b""
            except ConnectionResetError:
                told += 1
        return told

    def _count(self) -> None:
        self.steps += 1
        self._news.set()

    def _fill(self) -> None:
        """Take all descriptors that are left."""
        while True:
            try:
                self.others.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                return


async def _child() -> dict[str, object]:
    node = Scarce()
    await node.accepted(PLACES)
    began, node.steps = time.monotonic(), 0
    refused = node.start_flow("second")
    await asyncio.sleep(0.5)
    told: dict[str, object] = {
        "steps while full": node.steps,
        "seconds while full": time.monotonic() - began,
        "flow without a descriptor": refused,
    }
    os.close(node.others.pop())  # somebody else's: found at the next try
    await node.accepted(PLACES + 1)
    told["served"] = await node.refuse()  # each that ends makes room for one that waits
    return told


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        print(json.dumps(runner.run(_child())))
