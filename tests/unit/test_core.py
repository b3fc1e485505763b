"""The node without I/O: commands, refusals, and flows that end whatever happens."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping

import pytest

from node.control.messages import Command
from node.core import NodeCore
from node.protocol.errors import LocalProtocolError
from node.protocol.identity import Identity, Peer
from node.protocol.time import MILLISECOND, SECOND
from node.settings import NodeSettings, configuration_of
from node.workloads.base import ByteSink, Data, Report, WorkloadError
from node.workloads.flow import PROGRESS_INTERVAL, FlowHeader
from node.workloads.sources import generated_source, null_sink
from tests.support.nodes import KeptSink, NodePair
from tests.support.pair import Fate, hostile, perfect


def started(**arguments: object) -> dict[str, object]:
    """Return the arguments of a start_flow that works, with some replaced."""
    return {
        "flow": "f", "workload": "bulk", "role": "source", "peer": "right",
        "options": {"size": 1000}, **arguments,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"flow": None}, "flow: found None"),
        ({"flow": "../x"}, "flow: found '../x'"),
        ({"flow": "x" * 101}, "1 to 100"),
        ({"role": "sink"}, "role: found 'sink', use source or target"),
        ({"peer": None}, "peer: found None"),
        ({"peer": "rome"}, "peer: found 'rome', use one of left, right"),
        ({"peer": "left"}, "cannot connect to itself"),
        ({"workload": "bulky"}, "unknown workload 'bulky': use one of bulk, datagrams, echo"),
        ({"options": []}, "options: found []"),
        ({"options": {}}, "neither a file nor a size"),
        ({"options": {"size": -1}}, "size: found -1"),
        ({"options": {"size": True}}, "size: found True"),
        ({"options": {"sized": 1}}, "found 'sized'"),
        ({"transport": {"arq": "none"}}, "arq: found 'none'"),
        ({"transport": {"colour": 1}}, "transport: found 'colour'"),
        ({"transport": {"idle_timeout": "5s"}}, "transport.idle_timeout: found '5s', must be a whole number"),
    ],
)
def test_start_flow_says_what_is_wrong(arguments: Mapping[str, object], words: str) -> None:
    pair = NodePair()
    reply = pair.command("left", "start_flow", **started(**arguments))
    assert not reply.ok
    assert words in reply.error
    assert pair.command("left", "status").data["flows"] == []
    assert pair.command("left", "status").data["drops"] == {}


def test_unknown_command_lists_those_there_are() -> None:
    reply = NodePair().command("left", "fly")
    assert not reply.ok
    assert "found 'fly', use one of status, start_flow" in reply.error


def test_a_flow_name_is_taken_only_while_its_flow_runs() -> None:
    pair = NodePair()
    pair.flow("f", "bulk", size=1000)
    assert "is running" in pair.command("left", "start_flow", **started()).error
    pair.run_until_finished("f")
    assert pair.command("left", "start_flow", **started()).ok


def test_ready_is_the_first_event() -> None:
    pair = NodePair()
    pair.command("left", "status")
    assert pair.events[0].kind == "ready"
    assert pair.events[0].data["listen"] == ["left", 1]


def test_received_bytes_reach_the_sink() -> None:
    pair = NodePair(hostile(loss=0.1))
    pair.flow("f", "bulk", size=100_000, seed="s")
    pair.run_until_finished("f")
    expected = generated_source({"size": 100_000, "seed": "s"}).read(0, 100_000)
    assert pair.sinks["f"].data == expected
    assert pair.sinks["f"].finished


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1])
def test_bulk_of_any_size_arrives(size: int) -> None:
    pair = NodePair()
    pair.flow("f", "bulk", size=size)
    source, target = pair.run_until_finished("f")
    assert source["ok"], source["error"]
    assert source["bytes"] == target["bytes"] == size


def test_progress_comes_at_most_every_interval_and_grows() -> None:
    pair = NodePair(perfect(50 * MILLISECOND))
    pair.flow("f", "messages", size=1000, count=200, rate=100)
    pair.run_until_finished("f")
    progress = [e for e in pair.events if e.kind == "flow_progress" and e.node == "left"]
    assert len(progress) > 2
    gaps = [b.time - a.time for a, b in itertools.pairwise(progress)]
    assert min(gaps) >= PROGRESS_INTERVAL
    moved = [int(str(e.data["bytes"])) for e in progress]
    assert moved == sorted(moved)
    assert progress[0].data["bytes_total"] == 200_000


def test_a_flow_nobody_announced_is_refused() -> None:
    pair = NodePair()
    assert pair.command("left", "start_flow", **started()).ok
    while (end := pair.finished("left", "f")) is None:
        assert pair.step()
    assert not end["ok"]
    assert "'f' is not expected here" in str(end["error"])
    assert any(e.kind == "warning" and e.node == "right" for e in pair.events)


def test_a_flow_of_another_workload_is_refused() -> None:
    pair = NodePair()
    pair.command("right", "start_flow", **started(role="target", peer="left", workload="echo", options={}))
    pair.command("left", "start_flow", **started())
    while (end := pair.finished("left", "f")) is None:
        assert pair.step()
    assert "is echo, not 'bulk'" in str(end["error"])


def test_a_size_other_than_agreed_is_refused() -> None:
    pair = NodePair()
    pair.command("right", "start_flow", **started(role="target", peer="left", options={"size": 999}))
    pair.command("left", "start_flow", **started())
    source, target = pair.run_until_finished("f")
    assert not source["ok"]
    assert "size: found 1000, expected 999" in str(target["error"])
    assert "size: found 1000, expected 999" in str(source["error"])


class FullSink(KeptSink):
    """A disk that is full after 50,000 bytes."""

    def write(self, data: Data) -> None:
        """Keep ``data`` as long as there is room."""
        if len(self.data) + len(data) > 50_000:
            raise WorkloadError("cannot write f: No space left on device")
        super().write(data)


def test_full_disk_fails_the_flow_on_both_ends() -> None:
    sink = FullSink()
    pair = NodePair(sink_of=lambda options: sink)
    pair.flow("f", "bulk", size=1_000_000)
    source, target = pair.run_until_finished("f")
    for end in (source, target):
        assert not end["ok"]
        assert "No space left on device" in str(end["error"])
    assert sink.aborted


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (b'{"bytes": 10, "sha256": "ab"}', "the target has"),
        (b'{"bytes": 9, "sha256": "cd"}', "the target has"),
        (b"[]", "the target has"),
        (b"{", "not JSON"),
    ],
)
def test_a_report_that_differs_from_what_was_sent_fails_the_flow(report: bytes, words: str) -> None:
    reader = Report()
    reader.receive(report)
    outcome = reader.outcome(size=10, sha256="cd")
    assert not outcome.ok
    assert words in outcome.error


def test_stop_flow_ends_it_on_both_nodes() -> None:
    pair = NodePair()
    pair.flow("f", "bulk", size=50_000_000)
    for _ in range(100):
        pair.step()
    assert pair.command("left", "stop_flow", flow="f").ok
    source, target = pair.run_until_finished("f")
    assert source["error"] == "stopped by command"
    assert "stopped by command" in str(target["error"])
    assert pair.sinks["f"].aborted


def test_stop_ends_all_flows_and_connections_and_takes_no_new_ones() -> None:
    pair = NodePair()
    pair.flow("f", "bulk", size=50_000_000)
    pair.flow("g", "echo", count=100)
    for _ in range(50):
        pair.step()
    assert pair.command("left", "stop").ok
    for name in ("f", "g"):
        source, target = pair.run_until_finished(name)
        assert not source["ok"]
        assert not target["ok"]
    assert "stopping" in pair.command("left", "start_flow", **started()).error
    while pair.nodes["left"].connections or pair.nodes["right"].connections:
        assert pair.step()


def test_a_link_that_dies_ends_the_flow_on_both_nodes() -> None:
    alive = perfect()
    pair = NodePair(lambda datagram, rng: alive(datagram, rng) if pair.now < SECOND // 10 else [])
    pair.flow("f", "bulk", size=100_000_000)
    source, target = pair.run_until_finished("f")
    for end in (source, target):
        assert not end["ok"]
        assert "idle time-out" in str(end["error"])


def test_statistics_and_windows_of_a_running_flow() -> None:
    pair = NodePair()
    pair.flow("f", "bulk", size=50_000_000)
    for _ in range(200):
        pair.step()
    data = pair.command("left", "statistics", flow="f").data["connections"]
    assert isinstance(data, list)
    assert data[0]["peer"] == "right"
    assert data[0]["statistics"]["packets_sent"] > 0
    windows = pair.command("left", "windows", flow="f").data
    assert set(windows) == {"send", "receive", "shared"}


def window_at_target(pair: NodePair, flow: str) -> int:
    """Return how many bytes the target takes at a time, as its source knows."""
    while "receive" not in (windows := pair.command("left", "windows", flow=flow).data):
        assert pair.step()
    receive = windows["receive"]
    assert isinstance(receive, list | tuple)
    return int(receive[1]) - int(receive[0])


def test_a_flows_windows_hold_at_its_target_and_for_it_alone() -> None:
    pair = NodePair()
    narrow = {"stream_window": 20_000, "connection_window": 30_000}
    for flow, transport in (("narrow", narrow), ("wide", {})):
        common = {"flow": flow, "workload": "bulk", "options": {"size": 5_000_000}, "transport": transport}
        assert pair.command("right", "start_flow", role="target", peer="left", **common).ok
        assert pair.command("left", "start_flow", role="source", peer="right", **common).ok
        assert (window_at_target(pair, flow) <= 20_000) == (flow == "narrow")


def test_a_flow_that_never_came_leaves_its_windows_to_nobody() -> None:
    pair = NodePair()
    narrow = {
        "flow": "f",
        "workload": "bulk",
        "options": {"size": 10},
        "transport": {"stream_window": 20_000},
    }
    assert pair.command("right", "start_flow", role="target", peer="left", **narrow).ok
    assert pair.command("right", "stop_flow", flow="f").ok
    pair.flow("g", "bulk", size=5_000_000)
    assert window_at_target(pair, "g") > 20_000


@pytest.mark.parametrize("command", ["windows", "stop_flow", "statistics"])
def test_commands_about_an_unknown_flow_name_those_that_run(command: str) -> None:
    reply = NodePair().command("left", command, flow="nix")
    assert not reply.ok
    assert "flow: found 'nix', use one of: none is running" in reply.error


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("echo", {"size": 0}),
        ("echo", {"count": 0}),
        ("echo", {"size": "64"}),
        ("messages", {"size": (1 << 20) + 1}),
        ("messages", {"rate": -1}),
        ("bulk", {"size": 1 << 60}),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: Mapping[str, object]) -> None:
    reply = NodePair().command("left", "start_flow", **started(workload=name, options=options))
    assert not reply.ok
    assert "must be a whole number from" in reply.error


def test_echo_measures_the_round_trip() -> None:
    pair = NodePair(perfect(20 * MILLISECOND))
    pair.flow("f", "echo", count=10)
    source, _ = pair.run_until_finished("f")
    results = source["results"]
    assert isinstance(results, dict)
    assert results["rtt_ms"]["p50"] == 40


def test_messages_keep_their_rate() -> None:
    pair = NodePair()
    pair.flow("f", "messages", count=100, rate=50, size=10)
    source, _ = pair.run_until_finished("f")
    assert source["ok"], source["error"]
    assert 1.98 <= float(str(source["seconds"])) <= 2.1


@pytest.mark.parametrize("fate", [perfect(), hostile(loss=0.2, corrupt=0.02)])
def test_fifty_flows_at_once_all_arrive(fate: Fate) -> None:
    # Where a fifth is lost each way, one handshake in a hundred takes longer than the usual ten seconds.
    pair = NodePair(fate, transport={"handshake_timeout": 60 * SECOND})
    for number in range(50):
        pair.flow(f"f{number}", "bulk", size=5_000)
    for number in range(50):
        source, target = pair.run_until_finished(f"f{number}")
        assert source["ok"], source["error"]
        assert source["sha256"] == target["sha256"]


class Stranger:
    """A node of right's that speaks Strait but not our flow header."""

    def __init__(self, first: bytes, *, end: bool = True) -> None:
        self.pair = NodePair()
        endpoint = self.pair.nodes["left"]._endpoint
        right = self.pair.nodes["left"].settings.peers["right"]
        self.connection = endpoint.connect(right, now=0)
        self.pair._drain("left")
        while not self.connection.peer_address or self.connection.state.value != "established":
            assert self.pair.step()
        stream = self.connection.open_stream()
        self.connection.write(stream, first, end=end)
        self.pair._drain("left")

    def refusal(self) -> str:
        """Return the warning with which right closes the connection."""
        while not self.connection.closed:
            assert self.pair.step()
        return next(str(e.data["message"]) for e in self.pair.events if e.kind == "warning")


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"\xff\xff" + b"x" * 100, "flow header of 65535 bytes"),
        (b"\x00\x02{}", "lacks flow or workload"),
        (b"\x00\x02[]", "not a JSON object"),
        (b"\x00\x03abc", "not JSON"),
        (b"\x00", "ended inside the flow header"),
        (b"\x00\x10{", "ended inside the flow header"),
        (FlowHeader("f", "bulk").encode().replace(b'"f"', b"1  "), "lacks flow or workload"),
        (b"\x0f\xa0" + b"[" * 4000, "not JSON"),
        (FlowHeader("passwd", "bulk").encode().replace(b'"passwd"', b'"../ab"  '[:8]), "must be 1 to 100"),
    ],
)
def test_hostile_flow_headers_are_refused(first: bytes, words: str) -> None:
    assert words in Stranger(first).refusal()


def test_settings_check_their_transport() -> None:
    with pytest.raises(LocalProtocolError, match="integrity: found 'rot13'"):
        NodeSettings("a", bytes(32), ("a", 1), {}, {"integrity": "rot13"})
    assert configuration_of({"arq": "go-back-n"}, {"arq": "stop-and-wait"}).arq == "stop-and-wait"
    assert configuration_of({"accepted_integrity": ["aead"]}).accepted_integrity == ("aead",)


def test_a_target_takes_a_flow_only_from_the_peer_it_expects() -> None:
    keys = {name: random.Random(name).randbytes(32) for name in ("left", "right", "third")}
    peers = {name: Peer(Identity(key).public_key, (name, 1)) for name, key in keys.items()}
    pair = NodePair()
    sink: ByteSink = null_sink({})
    pair.nodes = {
        name: NodeCore(
            NodeSettings(name, keys[name], (name, 1), peers),
            rng=random.Random(name),
            source_of=generated_source,
            sink_of=lambda options: sink,
        )
        for name in ("left", "right")
    }
    pair.command("right", "start_flow", **started(role="target", peer="third"))
    pair.command("left", "start_flow", **started())
    while (end := pair.finished("left", "f")) is None:
        assert pair.step()
    assert "expected from third" in str(end["error"])
    status = pair.nodes["right"].handle_command(Command("status"), now=pair.now)
    assert status.data["flows"] != []


def test_a_peer_that_goes_while_we_write_is_named_as_the_reason() -> None:
    pair = NodePair()
    pair.flow("f", "messages", count=10_000, rate=1_000, size=100)
    while pair.now < SECOND // 10:
        pair.step()
    pair.command("right", "stop_flow", flow="f")
    source, _ = pair.run_until_finished("f")
    assert str(source["error"]).endswith("stopped by command")
    assert "the peer closed the connection with code 0x102" in str(source["error"])


def test_a_header_cannot_change_what_its_flow_is_called() -> None:
    stranger = Stranger(b"", end=False)
    pair = stranger.pair
    pair.command("right", "start_flow", **started(role="target", peer="left"))
    header = FlowHeader("f", "bulk", {"size": 1000, "role": "king"})
    stranger.connection.write(0, header.encode() + bytes(1000), end=True)
    while pair.finished("right", "f") is None:
        assert pair.step()
    begun = next(e for e in pair.events if e.kind == "flow_started")
    assert begun.data == {"size": 1000, "flow": "f", "role": "target"}
