"""Sockets that move, NAT routers that forget, and cross traffic, on virtual time with every frame checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.results import Verdict
from orchestrator.topology.errors import TopologyError
from tests.support.experiments import LINE, event_of, flow_of, happened, simulate

FILM = """
workloads:
  film: {kind: bulk, from: a, to: b, size: 4MB}
"""
NAT = LINE.replace("r: {kind: router}", "r: {kind: nat, timeout: 3s, ports: random}")


def test_socket_that_changes_port_and_address_loses_no_connection(tmp_path: Path) -> None:
    timeline = """
timeline:
  - {at: 500ms, rebind: {node: a, port: true}, every: 1s, count: 2}
  - {at: 1s, rebind: {node: a, address: true}, every: 1s, count: 2}
  - {at: 2500ms, migrate: {node: a}}
  - {at: 2700ms, migrate: {node: a, address: true}}
"""
    result = simulate(LINE + FILM + timeline, tmp_path, capture=True)
    assert result.verdict is Verdict.PASS, result.reasons
    places = [event.detail.rpartition(" ")[2] for event in result.timeline]
    assert places == [
        "10.0.0.1:49152",
        "100.64.0.1:49152",
        "100.64.0.1:49153",
        "100.64.0.2:49153",
        "100.64.0.2:49154",
        "100.64.0.3:49155",
    ]
    assert event_of(result, "migrate").detail.startswith("1 connections now at")
    assert flow_of(result).statistics["target"]["path_changes"] == 6


def test_migration_of_a_node_that_has_not_spoken_yet_moves_its_socket_only(tmp_path: Path) -> None:
    late = FILM.replace("size: 4MB", "size: 100kB, start: 1s")
    result = simulate(LINE + late + "timeline: [{at: 500ms, migrate: {node: a}}]", tmp_path)
    assert result.verdict is Verdict.PASS, result.reasons
    assert event_of(result, "migrate").detail == "0 connections now at 10.0.0.1:49152"


def test_nat_router_that_forgets_gives_another_port(tmp_path: Path) -> None:
    result = simulate(NAT + FILM + "timeline: [{at: 1s, nat-flush: r}]", tmp_path, capture=True)
    assert result.verdict is Verdict.PASS, result.reasons
    assert event_of(result, "nat-flush").detail == "1 mappings forgotten"
    assert flow_of(result).statistics["target"]["path_changes"] == 1
    # What the target last knew of the source is the router's address, and no port of the source's.
    remote = flow_of(result).statistics["target"]["remote"]
    assert isinstance(remote, tuple | list)
    assert remote[0] == "10.0.0.5"
    assert remote[1] != 4433


def test_idle_mapping_times_out_and_the_target_is_not_heard_until_the_source_speaks(tmp_path: Path) -> None:
    ping = """
workloads:
  ping: {kind: echo, from: a, to: b, size: 100B, count: 4, interval: 2s, transport: {idle-timeout: 20s}}
"""

    def moves(timeline: str) -> int:
        result = simulate(NAT + ping + timeline, tmp_path)
        assert result.verdict is Verdict.PASS, result.reasons
        return int(str(flow_of(result, "ping").statistics["target"]["path_changes"]))

    assert moves("") == 0
    shortened = "timeline: [{at: 500ms, nat-timeout: {node: r, timeout: 1s}%s}]"
    # Its end brings back the time-out of the topology, and there are fewer.
    assert moves(shortened % "") > moves(shortened % ", for: 2s") > 0


def test_what_is_behind_a_nat_router_cannot_be_reached_from_outside(tmp_path: Path) -> None:
    flows = FILM.replace("film:", "inwards: {kind: bulk, from: b, to: a, size: 1kB}\n  film:")
    with pytest.raises(TopologyError, match="'a' is behind NAT router 'r'"):
        simulate(NAT + flows, tmp_path)


def test_cross_traffic_takes_its_share_and_is_counted(tmp_path: Path) -> None:
    def seconds(timeline: str) -> float:
        result = simulate(LINE + FILM + timeline, tmp_path, capture=True)
        assert result.verdict is Verdict.PASS, result.reasons
        if timeline:
            # 5 Mbit/s in packets of 1200 bytes for 2 s, both ends of the time included.
            detail = event_of(result, "traffic", "ends").detail
            assert detail.startswith("1042 packets sent, ")
            assert 500 < int(detail.split()[3]) < 1042
        return flow_of(result).seconds

    undisturbed = seconds("")
    assert (
        seconds("timeline: [{at: 1s, traffic: {from: a, to: b, rate: 5Mbit}, for: 2s}]") > undisturbed + 0.5
    )


def test_traffic_ends_with_a_node_that_crashes_and_the_run_says_so(tmp_path: Path) -> None:
    timeline = """
timeline:
  - {at: 1s, traffic: {from: b, to: a, rate: 1Mbit}, for: 2s}
  - {at: 2s, crash: b}
"""
    result = simulate(LINE + timeline, tmp_path)
    assert result.verdict is Verdict.FAIL
    assert "traffic b → a, 1Mbit did not end" in result.reasons[0]
    assert happened(result)[-1] == (3, "traffic", "ends", "failed")
