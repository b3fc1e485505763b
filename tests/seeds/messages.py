"""A seed as messages: with and without deadlines, both ways, over a random network.

Each arrives whole and once or not at all, and its sender is told of each what became of it. One that was
acknowledged has arrived; one without a deadline is given up only where nothing lost is sent again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

from node.protocol.events import MessageAcknowledged, MessageExpired, MessageReceived
from node.protocol.time import MILLISECOND, SECOND
from tests.seeds.leftovers import expect_nothing_left
from tests.seeds.settings import further_settings, network, transfer_settings
from tests.seeds.transfer import MAX_STEPS
from tests.support.pair import Pair
from tests.support.watched import pair_of


def run(seed: int) -> None:
    """Run a seed; AssertionError: a message came changed, twice, or nobody knows what became of it."""
    rng = Random(f"messages/{seed}")
    left, right = transfer_settings(rng), transfer_settings(rng)
    # Messages need streams of their peer's to go in, and to fit into one.
    streams = rng.choice([1, 5, 100])
    left, right = further_settings(left, right, Random(f"messages/{seed}/later"))
    largest = min(
        left.first_stream_window, right.first_stream_window,
        left.first_connection_window * 3 // 4, right.first_connection_window * 3 // 4,
    )  # fmt: skip
    left, right = (
        replace(end, max_streams_uni=streams, max_message_size=largest) for end in (left, right)
    )  # fmt: skip
    pair = pair_of(seed)(
        left=left, right=right, to_right=network(rng), to_left=network(rng), seed=seed,
        coalesce=rng.random() < 0.5,
    )  # fmt: skip
    pair.established()
    assert pair.accepted is not None
    sent: dict[bool, dict[int, bytes]] = {True: {}, False: {}}
    lasting: dict[bool, set[int]] = {True: set(), False: set()}
    for number in range(rng.randrange(1, 30)):
        is_left = rng.random() < 0.5
        connection = pair.connection if is_left else pair.accepted
        size = min(largest, rng.choice([0, 1, 100, 1400, 5000, 30_000]))
        data = number.to_bytes(2, "big")[: min(size, 2)] + rng.randbytes(max(0, size - 2))
        deadline = pair.now + rng.randrange(400 * MILLISECOND) if rng.random() < 0.5 else None
        message_id = connection.send_message(data, deadline, now=pair.now)
        sent[is_left][message_id] = data
        if deadline is None:
            lasting[is_left].add(message_id)
        pair.drain()
        if rng.random() < 0.5:
            pair.run_for(rng.randrange(50 * MILLISECOND))
    for steps in range(MAX_STEPS):
        if _told(pair, sent):
            break
        assert steps < MAX_STEPS - 1, "does not get anywhere"
        assert pair.step() or _told(pair, sent), "stands still"
    never = left.fec != "none" and left.fec_arq == "never"
    for is_left in (True, False):
        _check(pair, is_left, sent[is_left], set() if never else lasting[is_left])
    assert pair.closed(right=False) is None
    assert pair.closed(right=True) is None
    for connection in (pair.connection, pair.accepted):
        connection.close(now=pair.now)
    del connection
    pair.drain()
    pair.run_for(600 * SECOND)
    expect_nothing_left(pair, before=lambda: _forget(pair))


def _told(pair: Pair, sent: dict[bool, dict[int, bytes]]) -> bool:
    """Whether both senders know of each of their messages what became of it."""
    return all(len(_fates(pair, is_left)) == len(sent[is_left]) for is_left in (True, False))


def _fates(pair: Pair, is_left: bool) -> dict[int, bool]:
    """Return message → whether it was acknowledged; AssertionError: of one something was told twice."""
    events = pair.left_events if is_left else pair.right_events
    found: dict[int, bool] = {}
    for event in events:
        if isinstance(event, MessageAcknowledged | MessageExpired):
            assert event.message_id not in found, f"message {event.message_id}: told twice"
            found[event.message_id] = isinstance(event, MessageAcknowledged)
    return found


def _check(pair: Pair, is_left: bool, sent: dict[int, bytes], lasting: set[int]) -> None:
    """Hold what arrived from one side to what was sent and to what its sender was told."""
    there = pair.right_events if is_left else pair.left_events
    arrived = Counter(event.data for event in there if isinstance(event, MessageReceived))
    possible = Counter(sent.values())
    assert arrived <= possible, "a message came changed, or once too often"
    fates = _fates(pair, is_left)
    certain = Counter(sent[message_id] for message_id, acknowledged in fates.items() if acknowledged)
    assert certain <= arrived, "an acknowledged message did not arrive"
    assert all(fates[message_id] for message_id in lasting), "a message without a deadline was given up"


def _forget(pair: Pair) -> None:
    del pair.connection
    pair.accepted = None
