"""What every ARQ mode keeps (SPEC 7): one file more is one mode more here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest

from node.protocol.arq.base import ARQ_MODES
from node.protocol.configuration import ARQ_CODES, Configuration
from node.protocol.events import StreamAcknowledged
from node.protocol.time import MILLISECOND, SECOND
from tests.support.pair import Fate, Pair, hostile, perfect

LINKS: dict[str, Callable[[], Fate]] = {
    "clean": perfect,
    "lossy": lambda: hostile(loss=0.15),
    "reordering": lambda: hostile(reorder=0.4),
    "duplicating": lambda: hostile(duplicate=0.4),
    "corrupting": lambda: hostile(corrupt=0.1),
}

every_mode = pytest.mark.parametrize("name", ARQ_MODES.names())


def established(name: str, fate: Fate | None = None, *, seed: int = 3) -> Pair:
    configuration = Configuration(arq=name, handshake_timeout=60 * SECOND)
    pair = Pair(left=configuration, to_right=fate, seed=seed)
    pair.established()
    return pair


def test_every_mode_has_a_code_on_the_wire() -> None:
    assert set(ARQ_MODES.names()) == set(ARQ_CODES)


@every_mode
@pytest.mark.parametrize("link", LINKS)
def test_streams_both_ways_arrive_intact(name: str, link: str) -> None:
    pair = established(name, LINKS[link]())
    assert pair.accepted is not None
    stream_id = pair.connection.open_stream()
    there, back = Random(1).randbytes(60_001), Random(2).randbytes(40_003)
    pair.connection.write(stream_id, there, end=True)
    answer = pair.accepted.open_stream()
    pair.accepted.write(answer, back, end=True)
    pair.drain()
    pair.run_until(
        lambda: (
            StreamAcknowledged(stream_id) in pair.left_events
            and StreamAcknowledged(answer) in pair.right_events
        )
    )
    assert pair.right_data[stream_id] == there
    assert pair.left_data[answer] == back


@every_mode
def test_no_more_packets_are_open_than_the_mode_allows(name: str) -> None:
    """SPEC 7-1, 7-2, 7-3."""
    most = ARQ_MODES[name].max_open_packets
    pair = established(name)
    pair.run_for(SECOND)  # the handshake's PING is acknowledged
    begin = len(pair.wire)
    stream_id = pair.connection.open_stream()
    pair.connection.write(stream_id, bytes(30_000), end=True)
    pair.drain()
    sent = [datagram for _, from_left, datagram in pair.wire[begin:] if from_left]
    if most is None:
        assert 1 < len(sent) <= 10  # the initial window
    else:
        assert len(sent) == most
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)


@every_mode
def test_what_comes_out_of_order_is_kept_only_where_the_mode_says_so(name: str) -> None:
    """SPEC 7-1, 7-3: the first data packet is lost; whoever keeps the others need not get them twice."""
    mode = ARQ_MODES[name]
    pair = established(name)
    pair.run_for(SECOND)
    count: Iterator[int] = iter(range(1 << 30))
    pair.to_right = lambda datagram, rng: [] if next(count) == 0 else [5 * MILLISECOND]
    stream_id = pair.connection.open_stream()
    pair.connection.write(stream_id, bytes(12_000), end=True)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    repeated = pair.connection.statistics().retransmitted_packets
    if mode.in_order_only:
        assert repeated >= 8
    else:
        assert 1 <= repeated <= 2


@every_mode
def test_each_packet_is_acknowledged_at_once_only_where_the_mode_says_so(name: str) -> None:
    """SPEC 7-2."""
    pair = established(name)
    pair.run_for(SECOND)
    begin = pair.now
    stream_id = pair.connection.open_stream()
    pair.connection.write(stream_id, b"one packet, no end")
    pair.drain()
    answers = len([1 for _, from_left, _ in pair.wire if not from_left])
    pair.run_until(lambda: len([1 for _, from_left, _ in pair.wire if not from_left]) > answers)
    waited = pair.now - begin - 5 * MILLISECOND
    assert waited == (0 if ARQ_MODES[name].acknowledge_at_once else 25 * MILLISECOND)


@every_mode
def test_a_stream_that_is_reset_leaves_the_others_whole(name: str) -> None:
    pair = established(name, hostile(loss=0.2), seed=8)
    given_up, kept = pair.connection.open_stream(), pair.connection.open_stream()
    pair.connection.write(given_up, bytes(50_000))
    data = Random(3).randbytes(30_000)
    pair.connection.write(kept, data, end=True)
    pair.drain()
    pair.run_for(20 * MILLISECOND)
    pair.connection.reset_stream(given_up, 1)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(kept) in pair.left_events)
    assert pair.right_data[kept] == data


@every_mode
def test_the_end_alone_is_repeated_when_it_is_lost(name: str) -> None:
    pair = established(name)
    stream_id = pair.connection.open_stream()
    pair.connection.write(stream_id, b"data")
    pair.drain()
    pair.run_for(SECOND)
    count: Iterator[int] = iter(range(1 << 30))
    pair.to_right = lambda datagram, rng: [] if next(count) < 3 else [5 * MILLISECOND]
    pair.connection.write(stream_id, b"", end=True)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(stream_id) in pair.left_events)
    assert pair.right_data[stream_id] == b"data"
