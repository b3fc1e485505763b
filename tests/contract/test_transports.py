"""What every other transport keeps: it carries each workload that it names, and says what it cannot."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from node.agent.transports import OtherTransports
from node.agent.udp import new_event_loop
from node.control.messages import Command, NodeEvent
from node.core import NodeCore
from node.protocol.errors import LocalProtocolError
from node.protocol.identity import Identity, Peer
from node.settings import NodeSettings
from node.transports.base import TRANSPORTS, check_settings
from node.workloads.base import WORKLOADS
from node.workloads.sources import generated_source
from tests.support.nodes import KeptSink

OPTIONS: dict[str, dict[str, object]] = {
    "bulk": {"size": 700_001},
    "echo": {"size": 100, "count": 10},
    "files": {"sizes": [50_000, 0, 120_001, 1]},
    "incast": {"size": 20_000, "rounds": 3},
    "request-response": {"count": 100, "size": 40, "response": 900, "streams": 30},
}
CASES = [(name, workload) for name in TRANSPORTS for workload in TRANSPORTS[name].workloads]
TIME_LIMIT = 60.0


class Pair:
    """Two nodes with nothing but other transports, on two loopback addresses."""

    def __init__(self) -> None:
        self.finished: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.sinks: dict[str, KeptSink] = {}
        self._news = asyncio.Event()
        hosts, port = {"left": "127.0.0.1", "right": "127.0.0.2"}, _free_port()
        keys = {"left": b"l" * 32, "right": b"r" * 32}
        peers = {name: Peer(Identity(key).public_key, (hosts[name], port)) for name, key in keys.items()}
        self.nodes = {
            name: OtherTransports(
                NodeSettings(name, key, (hosts[name], port), peers),
                source_of=generated_source,
                sink_of=lambda options: self.sinks.setdefault(str(options["flow"]), KeptSink()),
                publish=self._publish,
            )
            for name, key in keys.items()
        }

    def _publish(self, core: NodeCore) -> None:
        while (event := core.next_event()) is not None:
            self._take(event)

    def _take(self, event: NodeEvent) -> None:
        if event.kind == "flow_finished":
            self.finished[event.node, str(event.data["flow"])] = event.data
            self._news.set()

    def tell(self, node: str, **arguments: object) -> str:
        reply = self.nodes[node].obey(Command("start_flow", arguments))
        assert reply is not None
        return reply.error

    async def run(
        self, transport: str, workload: str, settings: Mapping[str, object] | None = None, **more: object
    ) -> list[Mapping[str, Any]]:
        settings = {"protocol": transport, **(settings or {})}
        common = {"flow": "f", "workload": workload, "transport": settings, **more}
        common.setdefault("options", OPTIONS[workload])
        for node, role, peer in (("right", "target", "left"), ("left", "source", "right")):
            assert not self.tell(node, role=role, peer=peer, **common)
        return await self.ends()

    async def all_ended(self, flows: int) -> None:
        """Wait until both ends of all flows are over."""
        async with asyncio.timeout(TIME_LIMIT):
            while len(self.finished) < 2 * flows:
                self._news.clear()
                await self._news.wait()

    async def ends(self) -> list[Mapping[str, Any]]:
        """Wait until both are over, and return how source and target ended."""
        await self.all_ended(1)
        return [self.finished["left", "f"], self.finished["right", "f"]]

    def stop(self) -> None:
        for node in self.nodes.values():
            node.stop()


def _free_port() -> int:
    """Return a port that is free for TCP, as are the next ones, and the next one for UDP."""
    for _ in range(50):
        with ExitStack() as sockets:
            tcp = sockets.enter_context(socket.socket())
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                for kind, after in ((socket.SOCK_DGRAM, 1), (socket.SOCK_STREAM, 1), (socket.SOCK_STREAM, 2)):
                    sockets.enter_context(socket.socket(type=kind)).bind(("127.0.0.1", port + after))
            except (OSError, OverflowError):
                continue
            return port
    raise AssertionError("no free port")


def run(transport: str, workload: str, **more: Any) -> list[Mapping[str, Any]]:
    async def go() -> list[Mapping[str, Any]]:
        pair = Pair()
        try:
            return await pair.run(transport, workload, **more)
        finally:
            pair.stop()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(go())


def here(transport: str, settings: Mapping[str, object] | None = None) -> None:
    """Skip where this machine lacks the transport."""
    missing = TRANSPORTS[transport].missing(settings or {})
    if missing is not None:
        pytest.skip(missing)


@pytest.mark.parametrize(("transport", "workload"), CASES)
def test_carries_its_workloads_whole(transport: str, workload: str) -> None:
    here(transport)
    source, target = run(transport, workload)
    assert source["ok"], source["error"]
    assert target["ok"], target["error"]
    assert source["bytes"] == target["bytes"] > 0
    assert source["sha256"] == target["sha256"] != ""
    assert source["statistics"]["packets_sent"] > 0
    assert source["statistics"]["smoothed_rtt"] > 0


@pytest.mark.parametrize("transport", TRANSPORTS.names())
def test_makes_several_connections_one_after_the_other(transport: str) -> None:
    here(transport)
    source, target = run(transport, "bulk", options={"size": 1000}, connections=4)
    assert source["ok"], source["error"]
    assert source["bytes"] == target["bytes"] == 4000
    assert source["results"]["connections"]["count"] == 4


@pytest.mark.parametrize("transport", TRANSPORTS.names())
def test_flows_between_two_nodes_have_their_own_settings_whichever_comes_first(transport: str) -> None:
    controllers = [
        name
        for name in TRANSPORTS[transport].settings["congestion"]
        if TRANSPORTS[transport].missing({"congestion": name}) is None
    ]
    if len(controllers) < 2:
        pytest.skip(f"of {transport} this machine has the congestion controllers {controllers}")

    async def go() -> None:
        pair = Pair()
        try:
            for node, role, peer in (("right", "target", "left"), ("left", "source", "right")):
                # Who is expected first comes last.
                for name in controllers if role == "target" else reversed(controllers):
                    told = {"flow": name, "workload": "bulk", "options": {"size": 100_000}}
                    transported = {"protocol": transport, "congestion": name}
                    assert not pair.tell(node, role=role, peer=peer, transport=transported, **told)
            await pair.all_ended(len(controllers))
        finally:
            pair.stop()
        ended = {end: data["statistics"]["congestion"] for end, data in pair.finished.items()}
        assert ended == {(node, name): name for node in ("left", "right") for name in controllers}

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(go())


@pytest.mark.parametrize("transport", TRANSPORTS.names())
def test_a_failed_flow_fails_at_both_ends(transport: str) -> None:
    here(transport)

    async def go() -> None:
        pair = Pair()
        try:
            common = {"flow": "f", "workload": "bulk", "transport": {"protocol": transport}}
            assert not pair.tell("right", role="target", peer="left", options={"size": 999}, **common)
            assert not pair.tell("left", role="source", peer="right", options={"size": 1000}, **common)
            source, target = await pair.ends()
            assert not source["ok"]
            assert "expected 999" in target["error"]
        finally:
            pair.stop()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(go())


@pytest.mark.parametrize("transport", TRANSPORTS.names())
def test_a_node_that_stops_ends_its_flows(transport: str) -> None:
    here(transport)

    async def go() -> Mapping[str, Any]:
        pair = Pair()
        common = {"flow": "f", "workload": "bulk", "transport": {"protocol": transport}}
        assert not pair.tell("right", role="target", peer="left", options={"size": 9}, **common)
        pair.stop()
        return pair.finished["right", "f"]

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        end = runner.run(go())
    assert not end["ok"]
    assert end["error"] == "the node stopped"


@pytest.mark.parametrize("transport", TRANSPORTS.names())
def test_says_what_it_does_not_have(transport: str) -> None:
    kind = TRANSPORTS[transport]
    for workload in set(WORKLOADS) - set(kind.workloads):
        with pytest.raises(LocalProtocolError, match=f"carries no {workload} flows"):
            check_settings(kind, workload, {})
    with pytest.raises(LocalProtocolError, match="no setting 'colour'"):
        check_settings(kind, "bulk", {"colour": "red"})
    with pytest.raises(LocalProtocolError, match="no congestion 'vegas'"):
        check_settings(kind, "bulk", {"congestion": "vegas"})


def test_an_unknown_transport_is_refused() -> None:
    async def go() -> str:
        pair = Pair()
        common = {"flow": "f", "workload": "bulk", "options": {"size": 9}}
        return pair.tell("left", role="source", peer="right", transport={"protocol": "sctp"}, **common)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert "use one of quic, tcp" in runner.run(go())


@pytest.mark.parametrize("name", ["cubic", "bbr", "reno"])
def test_tcp_uses_the_controller_that_is_asked_for(name: str) -> None:
    here("tcp", {"congestion": name})
    source, _ = run("tcp", "bulk", settings={"congestion": name})
    assert source["statistics"]["congestion"] == name
    assert source["statistics"]["bytes_acked"] > 700_000
    assert set(source["statistics"]["limited_time"]) == {"receive window", "send buffer"}
