"""QUIC in virtual time: aioquic driven by the simulator's clock, with the simulator's chance."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from node.carried.quic_connection import QuicConnection
from node.protocol.datagrams import Burst
from node.protocol.identity import Identity, Peer
from node.protocol.time import MILLISECOND, SECOND
from node.settings import NodeSettings
from node.transports.base import TRANSPORTS
from node.transports.quic import QuicEndpoint
from orchestrator.errors import EnvironmentMissingError, NotSupportedError
from orchestrator.experiment.selection import select_backend
from orchestrator.results import RunResult, Verdict
from orchestrator.topology.load import parse
from orchestrator.topology.planning import make_plan
from tests.support.experiments import simulate

TOPOLOGY = """
name: quic
seed: 3
topology:
  nodes: {a: {}, b: {}, r: {kind: router}}
  links:
    - {endpoints: ["a:eth1", "r:eth1"], netem: {delay: 5ms}}
    - {endpoints: ["b:eth1", "r:eth2"], netem: {delay: 5ms, rate: 20Mbit, queue: 40p, loss: 0.5%}}
workloads:
  film: {kind: bulk, from: a, to: b, size: 500kB, transport: quic}
  ask: {kind: request-response, from: a, to: b, count: 200, size: 100B, response: 2kB, streams: 200,
        start: 2s, transport: {protocol: quic, congestion: reno}}
  calls: {kind: bulk, from: b, to: a, size: 1kB, connections: 5, start: 4s, transport: quic}
  ours: {kind: bulk, from: a, to: b, size: 200kB, start: 6s}
expect: [integrity == ok, wire violations == 0]
"""


def test_flows_over_quic_run_on_virtual_time(tmp_path: Path) -> None:
    result = simulated(tmp_path)
    assert result.verdict is Verdict.PASS, result.reasons
    flows = {flow.name: flow for flow in result.flows}
    assert [flow.transport for flow in result.flows] == ["quic", "quic", "quic", "strait"]
    assert flows["ask"].congestion == "reno"
    assert 20 <= flows["film"].min_rtt_ms <= 30
    assert flows["film"].packets_lost > 0
    assert flows["film"].received_file is not None
    # Frames that are not Strait's are counted, and no violation.
    assert result.wire.other > 800


def test_the_same_seed_gives_the_same_run_over_quic(tmp_path: Path) -> None:
    first, again = simulated(tmp_path / "1"), simulated(tmp_path / "2")
    figures = [
        [(flow.name, flow.seconds, flow.statistics) for flow in result.flows] for result in (first, again)
    ]
    assert len(figures[0]) == 4
    assert figures[0] == figures[1]


class Ends:
    """Two endpoints, and nothing between them: what one sends the other has at once."""

    def __init__(self) -> None:
        missing = TRANSPORTS["quic"].missing({})
        if missing is not None:
            pytest.skip(missing)
        keys = {"left": b"l" * 32, "right": b"r" * 32}
        self.peer = Peer(Identity(keys["right"]).public_key, ("right", 1))
        self.ends = {
            name: QuicEndpoint(NodeSettings(name, key, (name, 1)), Random(name), None)
            for name, key in keys.items()
        }
        self.left, self.right = self.ends["left"], self.ends["right"]
        self.now = SECOND

    def connect(self, **settings: object) -> QuicConnection:
        """Begin a connection with these settings."""
        return self.left.connect(self.peer, configuration=settings, now=self.now)

    def step(self) -> bool:
        """Let both send and receive, a millisecond later; False: there was nothing."""
        self.now += MILLISECOND
        sent = False
        for name, other in (("left", self.right), ("right", self.left)):
            due = self.ends[name].next_timeout()
            if due is not None and due <= self.now:
                self.ends[name].handle_timeout(now=self.now)
            while (transmit := self.ends[name].transmit(now=self.now)) is not None:
                sent = True
                burst = Burst((name, 2), memoryview(bytes(transmit.buffer)), transmit.segment_size)
                other.receive(burst, now=self.now)
        return sent

    def run(self) -> None:
        """Go on until both have been silent for 50 ms."""
        silent = 0
        while silent < 50:
            silent = 0 if self.step() else silent + 1


@pytest.mark.parametrize("first", [0, 1])
def test_flows_that_begin_together_have_their_own_settings(first: int) -> None:
    """Whichever Initial comes first; and what nobody awaits has none."""
    pair = Ends()
    wanted: list[dict[str, object]] = [{"congestion": "reno"}]
    wanted.append({"congestion": "cubic", "max_datagram_size": 1300})
    for settings in wanted:
        pair.right.expect(0, settings)
    for number in (first, 1 - first, 0):
        pair.connect(**wanted[number])
        pair.step()
    pair.run()
    found = [c.statistics() for c in pair.right.connections]
    chosen = [(c.congestion, c.datagram_size) for c in found]
    theirs = [("reno", 1452), ("cubic", 1300)]
    assert chosen == [theirs[first], theirs[1 - first], ("cubic", 1452)]


def test_idle_connections_cost_a_busy_one_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: how often any connection is asked when it is due, while one of few and of many is busy."""
    asked = 0
    ask = QuicConnection.next_timeout

    def count(connection: QuicConnection) -> int | None:
        nonlocal asked
        asked += 1
        return ask(connection)

    monkeypatch.setattr(QuicConnection, "next_timeout", count)
    costs = []
    for idle in (1, 16):
        pair = Ends()
        connections = [pair.connect() for _ in range(1 + idle)]
        pair.run()
        assert all(connection.writable for connection in connections)
        asked = 0
        busy = connections[0]
        busy.write(busy.open_stream(), bytes(200_000), end=True)
        pair.run()
        costs.append(asked)
    assert costs[0] == costs[1] > 0


def test_tcp_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    plan = make_plan(parse(TOPOLOGY.replace("transport: quic", "transport: tcp").encode(), file="t.yml"))
    with pytest.raises(NotSupportedError, match="simulation has no transport tcp"):
        select_backend("simulation", plan)


def test_a_machine_without_the_library_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    plan = make_plan(parse(TOPOLOGY.encode(), file="t.yml"))
    with pytest.raises(EnvironmentMissingError, match=r"pip install 'narrows\[quic\]'"):
        select_backend("simulation", plan)


def simulated(directory: Path) -> RunResult:
    missing = TRANSPORTS["quic"].missing({})
    if missing is not None:
        pytest.skip(missing)
    return simulate(TOPOLOGY, directory, capture=True)
