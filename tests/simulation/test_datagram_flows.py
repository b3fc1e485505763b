"""The workload ``datagrams``: no connection, no repetition, and both ends agree on what came (SPEC 14)."""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.time import MILLISECOND, SECOND
from tests.support.nodes import NodePair
from tests.support.pair import hostile


def test_every_datagram_counts_once_and_loss_is_what_the_link_lost() -> None:
    lost: list[int] = []
    twice: list[int] = []

    def fate(datagram: bytearray, rng: Random) -> list[int]:
        delay = 5 * MILLISECOND
        # Data of the flow is the only thing of this size.
        if len(datagram) == 178 and rng.random() < 0.2:
            lost.append(1)
            return []
        if rng.random() < 0.3:
            twice.append(len(datagram))
            return [delay, delay + MILLISECOND]
        return [delay]

    pair = NodePair(fate)
    pair.flow("f", "datagrams", size=100, count=500)
    source, target = pair.run_until_finished("f")
    assert source["ok"]
    assert target["ok"]
    expected = {
        "sent": 500, "received": 500 - len(lost), "lost": len(lost), "late": 0,
        "duplicates": twice.count(178),
    }  # fmt: skip
    assert source["results"] == target["results"] == expected
    assert 50 < len(lost) < 150
    assert 80 < twice.count(178) < 160
    assert source["statistics"] == {}


def test_the_interval_is_kept() -> None:
    pair = NodePair()
    pair.flow("f", "datagrams", size=10, count=101, interval=10 * MILLISECOND, linger=0)
    source, _ = pair.run_until_finished("f")
    assert 1.0 <= source["seconds"] < 1.1


def test_no_connection_is_made() -> None:
    pair = NodePair()
    pair.flow("f", "datagrams", count=5)
    pair.run_until_finished("f")
    assert all(not node.connections for node in pair.nodes.values())
    assert not [event for event in pair.events if event.kind == "connection_closed"]


def test_both_ends_must_name_their_peer() -> None:
    pair = NodePair()
    for peer, words in ((None, "needs a node's name"), ("right", "itself")):
        reply = pair.command(
            "right", "start_flow", flow="f", workload="datagrams", role="target", peer=peer, options={}
        )
        assert not reply.ok
        assert words in reply.error
    assert pair.command("right", "start_flow", flow="f", workload="datagrams", role="target", peer="left",
                        options={}).ok  # fmt: skip


def test_a_stopped_flow_leaves_nothing_that_listens() -> None:
    pair = NodePair()
    pair.flow("f", "datagrams", count=100, interval=SECOND)
    assert pair.command("right", "stop_flow", flow="f").ok
    end = pair.finished("right", "f")
    assert end is not None
    assert end["error"] == "stopped by command"
    assert pair.command("right", "status").data["flows"] == []


@pytest.mark.parametrize("seed", range(5))
def test_both_ends_agree_however_bad_the_path(seed: int) -> None:
    pair = NodePair(hostile(loss=0.3, duplicate=0.2, reorder=0.3, corrupt=0.05), seed=seed)
    pair.flow("f", "datagrams", size=4000, count=200)
    source, target = pair.run_until_finished("f")
    assert source["ok"], source["error"]
    assert source["sha256"] == target["sha256"]
    # Four packets each, of which 14 % come twice; those that come too late to tell are not counted.
    assert 60 < source["results"]["duplicates"] == target["results"]["duplicates"] < 160
