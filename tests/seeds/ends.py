"""A seed as an end: whatever ends a connection, and whenever, one last event and nothing else is left."""

from __future__ import annotations

from random import Random

from node.protocol.arq.base import ARQ_MODES
from node.protocol.configuration import Configuration
from node.protocol.events import ConnectionClosed
from node.protocol.time import MILLISECOND, SECOND
from tests.seeds.leftovers import expect_nothing_left
from tests.seeds.settings import further_settings, network
from tests.seeds.transfer import MAX_STEPS
from tests.support.pair import Pair
from tests.support.watched import pair_of


def run(seed: int) -> None:
    """Close by either end, by both, by silence, or before it was open."""
    rng = Random(f"ends/{seed}")
    settings = [
        Configuration(
            arq=rng.choice(ARQ_MODES.names()),
            idle_timeout=rng.choice([1, 5, 30]) * SECOND,
            handshake_timeout=rng.choice([1, 4]) * SECOND,
        )
        for _ in range(2)
    ]
    left, right = further_settings(settings[0], settings[1], Random(f"ends/{seed}/later"))
    pair = pair_of(seed)(left=left, right=right, to_right=network(rng), to_left=network(rng), seed=seed)
    pair.connect()
    pair.run_for(rng.choice([0, 1, 10, 200, 3000]) * MILLISECOND)
    for end in (pair.connection, pair.accepted):
        if end is not None and not end.closed and end.statistics().smoothed_rtt and rng.random() < 0.8:
            end.write(end.open_stream(), bytes(rng.randrange(200_000)), end=rng.random() < 0.5)
    end = None
    pair.drain()
    pair.run_for(rng.randrange(300) * MILLISECOND)
    if rng.random() < 0.3:
        pair.to_left = pair.to_right = lambda datagram, rng: []
    for endpoint in rng.sample((pair.left, pair.right), rng.randrange(3)):
        endpoint.close(now=pair.now)
        pair.drain()
        pair.run_for(rng.randrange(20) * MILLISECOND)
    steps = 0
    while pair.left.connections or pair.right.connections or pair.next_time() is not None:
        assert pair.step()
        steps += 1
        assert steps < MAX_STEPS, "does not end"
    for events in (pair.left_events, pair.right_events):
        closed = [isinstance(event, ConnectionClosed) for event in events]
        assert closed.count(True) == (1 if events else 0)
        assert not events or closed[-1]
    expect_nothing_left(pair, before=lambda: _forget(pair))


def _forget(pair: Pair) -> None:
    del pair.connection
    pair.accepted = None
