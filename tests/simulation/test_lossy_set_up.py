"""What happens where set-up packets are lost one after the other: found by the cases of handshakes."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from random import Random

import pytest

from node.protocol.states import ConnectionState
from node.protocol.time import MILLISECOND, SECOND, Duration
from orchestrator.experiment.runner import run
from orchestrator.results import RunResult
from orchestrator.topology.model import Topology
from tests.support.pair import Pair, perfect
from tests.support.topologies import bulk, impaired, line_topology


def ran(topology: Topology, directory: Path) -> RunResult:
    return asyncio.run(run(topology, "simulation", directory=directory, capture=True))


def lossy(forward: str, reverse: str, *, connections: int = 1) -> Topology:
    """Two hosts on one link that loses these packets, and small files one after the other."""
    topology = line_topology(impaired(delay="15ms", rate="10Mbit"), flows=(bulk(1000),))
    (link,), (flow,) = topology.links, topology.workloads
    link = dataclasses.replace(
        link,
        forward=link.forward.replace({"drop": forward}),
        reverse=link.reverse.replace({"drop": reverse}),
    )
    flow = dataclasses.replace(flow, connections=connections)
    return dataclasses.replace(topology, links=(link,), workloads=(flow,), time_limit=40 * SECOND)


def test_a_later_connection_of_a_flow_that_cannot_be_set_up_fails_the_flow(tmp_path: Path) -> None:
    result = ran(lossy("1000", "3-1000", connections=4), tmp_path)
    (flow,) = result.flows
    assert "the peer did not answer the handshake" in flow.error
    assert result.duration < 15 * SECOND  # not the time limit
    assert not flow.completed


@pytest.mark.parametrize(("forward", "reverse"), [("3", "1, 3"), ("2-3", "1, 3"), ("3-4", "1, 4")])
def test_an_end_that_took_no_round_trip_from_the_handshake_may_go_by_the_initial_one(
    forward: str, reverse: str, tmp_path: Path
) -> None:
    """RFC 9002 §6.2.2: which of several RESPONSEs was answered nobody knows, so no sample comes of it."""
    result = ran(lossy(forward, reverse), tmp_path)
    assert result.flows[0].completed
    assert not result.wire.violations, result.wire.details


def test_a_responder_takes_no_round_trip_from_a_packet_that_waited_for_a_time_out() -> None:
    """SPEC 8: it waited 9 and 19 s for its time-outs then, and of fifty connections one ended idle."""
    lost = 8

    def loses_the_first_data(datagram: bytearray, rng: Random) -> list[Duration]:
        nonlocal lost
        if datagram[0] & 0x80 == 0 and lost:
            lost -= 1
            return []
        return [5 * MILLISECOND]

    pair = Pair(to_right=loses_the_first_data, to_left=perfect())
    connection = pair.connect()
    pair.run_until(lambda: connection.state is ConnectionState.ESTABLISHED)
    connection.write(connection.open_stream(), b"x")
    pair.drain()
    pair.run_until(lambda: pair.accepted is not None)
    assert pair.now > 200 * MILLISECOND
    pair.run_for(SECOND)
    assert pair.accepted is not None
    assert pair.accepted.statistics().smoothed_rtt < 50 * MILLISECOND
