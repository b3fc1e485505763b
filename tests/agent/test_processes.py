"""Real agents as processes on loopback: transfers, health, stopping, and what is said when they cannot."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from node.control.client import ControlClient, ControlError
from node.control.messages import Command, NodeEvent
from node.protocol.identity import Identity
from tests.support import qvis

#: Seconds after which a condition that comes about in a second counts as never coming.
PATIENCE = 60.0
NAMES = ("lisbon", "paris")


class Agents:
    """Two agents that know each other, their files below one directory."""

    def __init__(self, directory: Path, *, traced: bool = False, **settings: object) -> None:
        self.directory = directory
        keys = {name: random.Random(name).randbytes(32) for name in NAMES}
        ports = free_ports(len(NAMES))
        peers = {
            name: {"public_key": Identity(key).public_key.hex(), "host": "127.0.0.1", "port": port}
            for (name, key), port in zip(keys.items(), ports, strict=True)
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for name, port in zip(NAMES, ports, strict=True):
            configuration = {
                "name": name, "private_key": keys[name].hex(), "listen": f"127.0.0.1:{port}", "peers": peers,
                "control": {"unix": self.control(name)}, "key_log": str(directory / name / "keys.log"),
                "files_directory": str(directory / "files"),
                "results_directory": str(directory / name / "received"), **settings,
            }  # fmt: skip
            if traced:
                configuration["qlog_directory"] = str(directory / name / "qlog")
            self.configuration(name).write_text(json.dumps(configuration))
            self.processes[name] = self.run("run", name, stderr=subprocess.PIPE)

    def control(self, name: str) -> str:
        """Return the path of an agent's control socket."""
        return str(self.directory / f"{name}.sock")

    def configuration(self, name: str) -> Path:
        """Return the path of an agent's configuration."""
        return self.directory / f"{name}.json"

    def run(self, action: str, name: str, stderr: int | None = None) -> subprocess.Popen[bytes]:
        """Start ``python -m node`` for an agent."""
        command = [sys.executable, "-m", "node", action, "--config", str(self.configuration(name))]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)

    async def client(self, name: str) -> ControlClient:
        """Connect to an agent, as soon as it listens."""
        while True:
            try:
                return await ControlClient.connect_unix(self.control(name))
            except ControlError:
                assert self.processes[name].poll() is None, f"{name} ended: {self.said(name)}"
                await asyncio.sleep(0.01)

    def said(self, name: str) -> str:
        """Wait for an agent's end and return its standard error."""
        return self.processes[name].communicate(timeout=PATIENCE)[1].decode()


def free_ports(count: int) -> list[int]:
    """Return UDP ports that nobody uses now."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Agents]]:
    """Make agents; whatever still runs at the end is killed."""
    made: list[Agents] = []

    def make_agents(*, traced: bool = False, **settings: object) -> Agents:
        made.append(Agents(tmp_path, traced=traced, **settings))
        return made[-1]

    yield make_agents
    for agents in made:
        for process in agents.processes.values():
            if process.poll() is None:
                process.kill()
            process.communicate()


def go(test: Awaitable[None]) -> None:
    """Run a test, at most as long as patience lasts."""

    async def main() -> None:
        async with asyncio.timeout(PATIENCE):
            await test

    asyncio.run(main())


async def start(agents: Agents, name: str, **arguments: object) -> dict[str, ControlClient]:
    """Start a flow from lisbon to paris."""
    clients = {node: await agents.client(node) for node in NAMES}
    for node, role, peer in (("paris", "target", "lisbon"), ("lisbon", "source", "paris")):
        command = Command("start_flow", {"flow": name, "role": role, "peer": peer, **arguments})
        reply = await clients[node].request(command)
        assert reply.ok, reply.error
    return clients


async def event(client: ControlClient, kind: str) -> Mapping[str, object]:
    """Return the data of the next event of a kind."""
    found: NodeEvent
    async for found in client.events():
        if found.kind == kind:
            return found.data
    raise AssertionError(f"the agent went away without {kind}")


async def close(clients: Mapping[str, ControlClient]) -> None:
    """Close all clients."""
    for client in clients.values():
        await client.close()


@pytest.mark.parametrize("settings", [{}, {"gso": False}, {"no_udp_checksum": True}])
def test_a_file_arrives_whole(make: Callable[..., Agents], settings: dict[str, object]) -> None:
    agents = make(**settings)
    data = random.Random(1).randbytes(5_000_001)
    (agents.directory / "files").mkdir()
    (agents.directory / "files" / "picture.raw").write_bytes(data)

    async def test() -> None:
        clients = await start(agents, "photo", workload="bulk", options={"file": "picture.raw"})
        for client in clients.values():
            end = await event(client, "flow_finished")
            assert end["ok"], end["error"]
            assert end["bytes"] == len(data)
            assert end["sha256"] == hashlib.sha256(data).hexdigest()
        await close(clients)

    go(test())
    assert (agents.directory / "paris" / "received" / "photo").read_bytes() == data
    for name in NAMES:
        keys = (agents.directory / name / "keys.log").read_text()
        assert keys.startswith("STRAIT_DATA ")


def test_both_ends_write_a_trace_that_loads_and_is_whole(make: Callable[..., Agents]) -> None:
    """SPEC 16-2: and what is left is written when the agents end."""
    agents = make(traced=True)

    async def test() -> None:
        await all_finish(agents, 3_000_000)

    go(test())
    for name in NAMES:
        assert "WARNING" not in agents.said(name)
        assert agents.processes[name].returncode == 0
    (left,), (right,) = (list((agents.directory / name / "qlog").glob("[0-9a-f]*.sqlog")) for name in NAMES)
    assert left.name == right.name
    client, server = qvis.load(left), qvis.load(right)
    assert (client.vantage_point, server.vantage_point) == ("client", "server")
    assert qvis.matched(client, server)[0] > 2000
    for end in (client, server):
        assert len(end.lookup("connectivity", "connection_closed")) == 1


def test_trouble_with_the_trace_is_a_warning_and_no_end(make: Callable[..., Agents]) -> None:
    """SPEC 16-3."""
    agents = make(qlog_directory="/dev/null/qlog")

    async def test() -> None:
        await all_finish(agents, 1_000_000)

    go(test())
    for name in NAMES:
        assert agents.said(name).count("tracing has ended: cannot write /dev/null/qlog") == 1
        assert agents.processes[name].returncode == 0


async def all_finish(agents: Agents, size: int) -> None:
    """Send so many bytes, and stop both agents."""
    clients = await start(agents, "f", workload="bulk", options={"size": size})
    for client in clients.values():
        assert (await event(client, "flow_finished"))["ok"]
    for client in clients.values():
        await client.request(Command("stop"))
    await close(clients)


@pytest.mark.parametrize("workload", ["datagrams", "echo", "messages"])
def test_other_workloads_finish_too(make: Callable[..., Agents], workload: str) -> None:
    agents = make()

    async def test() -> None:
        clients = await start(agents, "f", workload=workload, options={"count": 200})
        for client in clients.values():
            end = await event(client, "flow_finished")
            assert end["ok"], end["error"]
        await close(clients)

    go(test())


def test_health_follows_the_agent(make: Callable[..., Agents]) -> None:
    agents = make()

    async def test() -> None:
        await (await agents.client("lisbon")).close()

    go(test())
    process = agents.run("health", "lisbon")
    status = json.loads(process.communicate(timeout=PATIENCE)[0])
    assert process.returncode == 0
    assert status["node"] == "lisbon"
    agents.processes["lisbon"].terminate()
    assert agents.processes["lisbon"].wait(PATIENCE) == 0
    process = agents.run("health", "lisbon", stderr=subprocess.PIPE)
    assert b"no node listens at" in process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_an_agent_and_its_peer_hears_of_it(
    make: Callable[..., Agents], number: signal.Signals
) -> None:
    agents = make()

    async def test() -> None:
        clients = await start(agents, "f", workload="bulk", options={"size": 1 << 40})
        await event(clients["lisbon"], "flow_progress")
        agents.processes["lisbon"].send_signal(number)
        for client in clients.values():
            end = await event(client, "flow_finished")
            assert not end["ok"]
            assert "the node stopped" in str(end["error"])
        await close(clients)

    go(test())
    assert agents.processes["lisbon"].wait(PATIENCE) == 0
    assert not Path(agents.control("lisbon")).exists()
    assert not list((agents.directory / "paris" / "received").iterdir())
    assert agents.processes["paris"].poll() is None


def test_the_stop_command_is_answered_before_the_agent_goes(make: Callable[..., Agents]) -> None:
    agents = make()

    async def test() -> None:
        client = await agents.client("lisbon")
        assert (await client.request(Command("stop"))).ok
        assert [found async for found in client.events() if found.kind == "warning"] == []
        await client.close()

    go(test())
    assert agents.processes["lisbon"].wait(PATIENCE) == 0


def test_a_killed_peer_ends_the_flow_with_a_reason(make: Callable[..., Agents]) -> None:
    agents = make(transport={"idle_timeout": 500_000_000})

    async def test() -> None:
        clients = await start(agents, "f", workload="bulk", options={"size": 1 << 40})
        await event(clients["lisbon"], "flow_progress")
        agents.processes["paris"].kill()
        end = await event(clients["lisbon"], "flow_finished")
        assert not end["ok"]
        assert "idle time-out" in str(end["error"])
        assert (await clients["lisbon"].request(Command("status"))).ok
        await close(clients)

    go(test())


def test_random_datagrams_harm_nothing(make: Callable[..., Agents]) -> None:
    agents = make()
    rng = random.Random(7)

    async def test() -> None:
        clients = await start(agents, "f", workload="bulk", options={"size": 20_000_000})
        status = await clients["paris"].request(Command("status"))
        listen = status.data["listen"]
        assert isinstance(listen, list)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
            for _ in range(2_000):
                head = bytes((rng.choice((0x41, 0xC1, 0xC2, rng.randrange(256))),))
                raw.sendto(head + rng.randbytes(rng.randrange(1500)), tuple(listen))
        for client in clients.values():
            end = await event(client, "flow_finished")
            assert end["ok"], end["error"]
        await close(clients)

    go(test())


def test_a_taken_port_is_said_in_one_line(make: Callable[..., Agents], tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        agents = make(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        for name in NAMES:
            said = agents.said(name)
            assert "cannot start" in said
            assert "Address already in use" in said
            assert "Traceback" not in said
            assert agents.processes[name].returncode == 3


def test_a_bad_configuration_is_said_and_ends_with_2(make: Callable[..., Agents]) -> None:
    agents = make(listen="nowhere")
    said = agents.said("lisbon")
    assert "lisbon.json: listen: found 'nowhere', must be 'host:port'" in said
    assert agents.processes["lisbon"].returncode == 2


def test_commands_about_interfaces_reach_their_owner(make: Callable[..., Agents]) -> None:
    agents = make()

    async def test() -> None:
        async with await agents.client("lisbon") as client:
            reply = await client.request(Command("shape", {"interface": ""}))
            assert not reply.ok
            assert "interface: found ''" in reply.error

    go(test())


def test_a_killed_agent_leaves_no_temporary_files(
    make: Callable[..., Agents], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    agents = make()

    async def main() -> None:
        async with await agents.client("paris") as client:
            assert (await client.request(Command("status"))).ok

    go(main())
    agents.processes["paris"].kill()
    agents.said("paris")
    assert list(temporary.iterdir()) == []
