"""What every workload keeps, whatever it is: it finishes on any link, and bytes in are bytes out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from node.workloads.base import WORKLOADS
from tests.support.nodes import NodePair
from tests.support.pair import Fate, hostile, perfect

LINKS: dict[str, Callable[[], Fate]] = {
    "clean": perfect,
    "lossy": lambda: hostile(loss=0.05),
    "hostile": lambda: hostile(loss=0.1, duplicate=0.05, reorder=0.1, corrupt=0.01),
}
#: Options every workload understands, or none; a third one must run with its defaults.
OPTIONS: dict[str, dict[str, object]] = {
    "bulk": {"size": 300_001},
    "datagrams": {"size": 3000, "count": 300},
    "echo": {"size": 100, "count": 20},
    "files": {"sizes": [50_000, 0, 120_001, 1]},
    "incast": {"size": 20_000, "rounds": 5},
    "messages": {"size": 700, "count": 200},
    "request-response": {"count": 300, "size": 40, "response": 900, "streams": 200},
}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("name", WORKLOADS.names())
def test_finishes_with_equal_bytes_on_both_ends(name: str, link: str) -> None:
    pair = NodePair(LINKS[link]())
    pair.flow("f", name, **OPTIONS.get(name, {}))
    source, target = pair.run_until_finished("f")
    assert source["ok"], source["error"]
    assert target["ok"], target["error"]
    assert source["bytes"] == target["bytes"] > 0
    assert source["sha256"] == target["sha256"] != ""


@pytest.mark.parametrize("name", WORKLOADS.names())
def test_same_seed_gives_the_same_run(name: str) -> None:
    runs = []
    for _ in range(2):
        pair = NodePair(hostile(loss=0.05), seed=7)
        pair.flow("f", name, **OPTIONS.get(name, {}))
        pair.run_until_finished("f")
        runs.append((pair.now, pair.datagrams, pair.events))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("name", WORKLOADS.names())
def test_refuses_an_unknown_option(name: str) -> None:
    pair = NodePair()
    reply = pair.command(
        "left", "start_flow", flow="f", workload=name, role="source", peer="right", options={"colour": 1}
    )
    assert not reply.ok
    assert "colour" in reply.error


@pytest.mark.parametrize("name", WORKLOADS.names())
def test_ends_with_an_error_when_the_peer_is_silent(name: str) -> None:
    pair = NodePair(lambda datagram, rng: [])
    pair.flow("f", name, **OPTIONS.get(name, {}))
    while pair.finished("left", "f") is None:
        assert pair.step()
    end = pair.finished("left", "f")
    assert end is not None
    assert not end["ok"]
    assert ("no report" if name == "datagrams" else "handshake") in str(end["error"])
