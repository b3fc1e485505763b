"""Flows of many streams, many files, many connections, and many sources."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from node.workloads.sources import GeneratedSource
from tests.support.nodes import NodePair
from tests.support.pair import hostile

Ends = tuple[Mapping[str, Any], Mapping[str, Any]]


def run(
    pair: NodePair,
    workload: str,
    *,
    connections: int = 1,
    transport: Mapping[str, object] | None = None,
    **options: object,
) -> Ends:
    """Run a flow ``f`` from left to right to its end, which must be a good one."""
    common = {
        "flow": "f",
        "workload": workload,
        "connections": connections,
        "transport": transport or {},
        "options": options,
    }
    for node, role, peer in (("right", "target", "left"), ("left", "source", "right")):
        reply = pair.command(node, "start_flow", role=role, peer=peer, **common)
        assert reply.ok, reply.error
    source, target = pair.run_until_finished("f")
    assert source["ok"], source["error"]
    assert target["ok"], target["error"]
    assert source["sha256"] == target["sha256"] != ""
    return source, target


def established(pair: NodePair) -> int:
    return sum(event.kind == "connection_closed" and event.node == "left" for event in pair.events)


def test_1999_streams_of_32_bytes_on_one_connection() -> None:
    pair = NodePair(hostile(loss=0.02))
    source, _ = run(pair, "request-response", count=1999, streams=1999, size=16, response=32)
    assert source["results"]["count"] == 1999
    assert source["bytes"] == 1999 * 48
    assert set(source["results"]["latency_ms"]) == {"min", "p50", "p90", "p99", "max"}


def test_requests_keep_to_the_streams_they_may_have_at_once() -> None:
    alone, many = (
        run(NodePair(), "request-response", count=60, streams=streams, size=16, response=32)[0]["seconds"]
        for streams in (1, 60)
    )
    assert alone > 20 * many


def test_users_think_between_requests() -> None:
    pair = NodePair()
    source, _ = run(pair, "request-response", count=11, size=16, response=32, think=100_000_000)
    assert 1.0 < source["seconds"] < 2.0
    assert source["results"]["latency_ms"]["max"] < 100


def test_files_arrive_each_under_its_own_name() -> None:
    pair = NodePair(hostile(loss=0.02))
    sizes = [200_000, 0, 300_001]
    source, target = run(pair, "files", sizes=sizes, seed="s")
    assert source["results"] == target["results"]
    for number, size in enumerate(sizes, start=1):
        kept = pair.sinks[f"f/{number}"]
        assert kept.finished
        assert kept.data == bytes(GeneratedSource(size, f"s/{number}").read(0, size))
        said = source["results"]["files"][number - 1]
        assert said == {"bytes": size, "sha256": hashlib.sha256(kept.data).hexdigest()}


def test_a_flow_makes_fifty_connections_one_after_the_other() -> None:
    pair = NodePair(hostile(loss=0.05))
    source, target = run(pair, "bulk", connections=50, size=1000, seed="s")
    assert source["bytes"] == target["bytes"] == 50_000
    assert source["sha256"] == hashlib.sha256(GeneratedSource(1000, "s").read(0, 1000)).hexdigest()
    assert source["results"]["connections"]["count"] == 50
    assert source["results"]["connections"]["early_data_taken"] == 0
    assert len(source["results"]["connections"]["handshake_ms"]) == 5
    assert source["statistics"]["packets_sent"] >= 50
    assert established(pair) >= 49
    started = [event for event in pair.events if event.kind == "flow_started"]
    assert len(started) == 2


def test_forty_requests_go_as_early_data_on_a_second_connection() -> None:
    pair = NodePair(transport={"early_data": True})
    source, _ = run(
        pair, "request-response", connections=2, count=40, streams=40, size=16, response=32, seed="s"
    )
    assert source["results"]["connections"]["early_data_taken"] == 1


def test_early_requests_that_overtake_the_flow_header_are_answered() -> None:
    pair = NodePair(hostile(loss=0.1, reorder=0.3), transport={"early_data": True}, seed=5)
    run(pair, "request-response", connections=8, count=200, streams=100, size=900, response=32, seed="s")


def test_a_failed_connection_ends_the_whole_flow() -> None:
    pair = NodePair()
    common = {"flow": "f", "workload": "bulk", "connections": 5, "options": {"size": 1000}}
    assert pair.command("left", "start_flow", role="source", peer="right", **common).ok
    # The target is told of another size than is announced.
    refusing = {**common, "options": {"size": 999}}
    assert pair.command("right", "start_flow", role="target", peer="left", **refusing).ok
    source, target = pair.run_until_finished("f")
    assert not source["ok"]
    assert not target["ok"]
    assert source["results"]["connections"]["count"] == 1


def incast(pair: NodePair, *members: str, expected: int = 3, rounds: int = 4) -> None:
    options = {"size": 50_000, "rounds": rounds, "group": "burst", "members": expected}
    for name in members:
        pair.flow(name, "incast", **options)


def pass_time(pair: NodePair) -> None:
    """Let handshakes and headers get through."""
    while pair.now < 30_000_000:
        assert pair.step()


def test_all_members_of_an_incast_send_at_one_moment() -> None:
    pair = NodePair(hostile(loss=0.01))
    incast(pair, "a", "b", "c")
    ends = [pair.run_until_finished(name) for name in ("a", "b", "c")]
    assert all(source["ok"] and target["ok"] for source, target in ends), ends
    rounds = [source["results"]["round_ms"] for source, _ in ends]
    assert rounds[0] == rounds[1] == rounds[2]
    slowest = max(source["results"]["latency_ms"]["max"] for source, _ in ends)
    assert rounds[0]["max"] == slowest
    assert ends[0][0]["bytes"] == 200_000


def test_an_incast_waits_for_its_last_member() -> None:
    pair = NodePair()
    incast(pair, "a", "b")
    pass_time(pair)
    assert pair.finished("left", "a") is None
    incast(pair, "c")
    for name in ("a", "b", "c"):
        source, _ = pair.run_until_finished(name)
        assert source["ok"], source["error"]


def test_an_incast_ends_when_a_member_fails() -> None:
    pair = NodePair()
    incast(pair, "a", "b", expected=3)
    pass_time(pair)
    assert pair.command("right", "stop_flow", flow="a").ok
    source, target = pair.run_until_finished("b")
    assert not source["ok"]
    assert "another member of burst failed" in target["error"]
