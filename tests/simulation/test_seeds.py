"""Random workloads over random hostile networks: what is delivered is what was sent, exactly, in the end.

One seed is one run of everything at once: mode, profile, windows, sizes, both directions' faults, and
a script of both ends. A seed that ever failed is named below, with what it found.
"""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.arq.base import ARQ_MODES
from node.protocol.configuration import INTEGRITY_CODES, Configuration
from node.protocol.connection import Connection
from node.protocol.errors import LocalProtocolError
from node.protocol.events import ConnectionClosed, StreamAcknowledged, StreamDataReceived, StreamReset
from node.protocol.time import MILLISECOND, SECOND, Duration
from tests.support.pair import Fate, Pair, hostile

SEEDS = 400
#: A run that takes more steps than this has stopped getting anywhere.
MAX_STEPS = 100_000


def configuration(rng: Random) -> Configuration:
    window = rng.choice([1300, 5000, 20_000, 60_000, 1 << 20])
    return Configuration(
        integrity=rng.choice(sorted(INTEGRITY_CODES)),
        arq=rng.choice(ARQ_MODES.names()),
        max_datagram_size=rng.choice([1200, 1452, 4000]),
        connection_window=max(2400, window * rng.choice([1, 2, 4])),
        stream_window=window,
        max_streams_bidi=rng.randrange(1, 7),
        max_streams_uni=rng.randrange(7),
        max_ack_delay=rng.choice([0, 5, 25]) * MILLISECOND,
        handshake_timeout=3600 * SECOND,
        idle_timeout=0,
    )


def network(rng: Random) -> Fate:
    if rng.random() < 0.1:
        return hostile(delay=rng.randrange(100 * MILLISECOND))
    return hostile(
        delay=rng.choice([0, 1, 10, 150]) * MILLISECOND,
        loss=rng.choice([0, 0.02, 0.1, 0.3]),
        duplicate=rng.choice([0, 0.1, 0.3]),
        reorder=rng.choice([0, 0.1, 0.5]),
        corrupt=rng.choice([0, 0.01, 0.1]),
    )


class End:
    """One side of a run: what it writes, gives up and reads."""

    def __init__(self, connection: Connection, rng: Random, *, patient: bool) -> None:
        self.connection = connection
        self._rng = rng
        self._patient = patient  # reads seldom: the windows close
        self.sent: dict[int, bytearray] = {}
        self.given_up: set[int] = set()
        self.open: list[int] = []
        self.received: dict[int, bytearray] = {}

    def act(self) -> None:
        """Do one thing the application may do."""
        rng = self._rng
        kind = rng.randrange(10)
        if kind < 3 or not self.open:
            try:
                stream_id = self.connection.open_stream(unidirectional=rng.random() < 0.5)
            except LocalProtocolError:
                return
            self.sent[stream_id] = bytearray()
            self.open.append(stream_id)
        elif kind < 9:
            stream_id = rng.choice(self.open)
            data = rng.randbytes(rng.choice([0, 1, 30, 1400, 9000, 30_000]))
            self.write(stream_id, data, end=rng.random() < 0.3)
        elif len(self.open) > 1:
            stream_id = self.open.pop(rng.randrange(len(self.open)))
            self.given_up.add(stream_id)
            self.connection.reset_stream(stream_id, 1)

    def write(self, stream_id: int, data: bytes, *, end: bool) -> None:
        self.connection.write(stream_id, data, end=end)
        self.sent[stream_id] += data
        if end:
            self.open.remove(stream_id)

    def read(self, events: list[object], *, now_or_never: bool) -> None:
        """Take what has arrived, and answer the end of a bidirectional stream of the peer with ours."""
        if self._patient and not now_or_never and self._rng.random() < 0.95:
            return
        for event in events:
            if isinstance(event, StreamDataReceived):
                data = self.connection.read(event.stream_id)
                self.received.setdefault(event.stream_id, bytearray()).extend(data)
            if (isinstance(event, StreamDataReceived) and event.ended) or isinstance(event, StreamReset):
                ours = (event.stream_id & 1) != self.connection.initiator
                if not ours and not event.stream_id & 2:
                    self.connection.write(event.stream_id, b"", end=True)
        events.clear()


def run(seed: int) -> None:
    rng = Random(f"seeds/{seed}")
    left, right = configuration(rng), configuration(rng)
    pair = Pair(
        left=left, right=right, to_right=network(rng), to_left=network(rng), seed=seed,
        read=False, coalesce=rng.random() < 0.5,
    )  # fmt: skip
    pair.established()
    assert pair.accepted is not None
    ends = (
        End(pair.connection, rng, patient=rng.random() < 0.3),
        End(pair.accepted, rng, patient=rng.random() < 0.3),
    )
    news: tuple[list[object], list[object]] = ([], [])
    taken = [0, 0]

    def take() -> None:
        for side, (end, events) in enumerate(zip(ends, (pair.left_events, pair.right_events), strict=True)):
            news[side].extend(events[taken[side] :])
            taken[side] = len(events)
            end.read(news[side], now_or_never=False)
        pair.drain()

    def go_on(duration: Duration) -> None:
        until = pair.now + duration
        while (following := pair.next_time()) is not None and following <= until:
            pair.step()
            take()
        pair.now = max(pair.now, until)

    for _ in range(rng.randrange(5, 30)):
        rng.choice(ends).act()
        pair.drain()
        take()
        if rng.random() < 0.5:
            go_on(rng.randrange(80 * MILLISECOND))
    for end in ends:
        for stream_id in list(end.open):
            end.write(stream_id, b"the end", end=True)
    pair.drain()
    for steps in range(MAX_STEPS):
        take()
        if all_there(pair, ends):
            break
        assert steps < MAX_STEPS - 1, "does not get anywhere"
        if not pair.step():
            # Nothing will happen of itself: only the application's reading can be what is waited for.
            for end, events in zip(ends, news, strict=True):
                end.read(events, now_or_never=True)
            pair.drain()
            assert all_there(pair, ends) or pair.next_time() is not None, "stands still"
    assert pair.closed(right=False) is None
    assert pair.closed(right=True) is None
    pair.connection.close(now=pair.now)
    pair.accepted.close(now=pair.now)
    pair.drain()
    pair.run_for(600 * SECOND)
    assert pair.next_time() is None
    assert pair.left.connections == pair.right.connections == ()


def all_there(pair: Pair, ends: tuple[End, End]) -> bool:
    for end, other, events in ((ends[0], ends[1], pair.left_events), (ends[1], ends[0], pair.right_events)):
        for stream_id, data in end.sent.items():
            got = other.received.get(stream_id, b"")
            assert data.startswith(got), f"stream {stream_id}"
            if stream_id in end.given_up:
                continue
            if got != data or StreamAcknowledged(stream_id) not in events:
                return False
    return True


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_sent_is_delivered_exactly(seed: int) -> None:
    """SPEC 6-1."""
    run(seed)


@pytest.mark.parametrize("seed", range(100))
def test_whatever_ends_a_connection_leaves_nothing_behind(seed: int) -> None:
    """Closed by either end, by both, by silence, or before it was open: one last event, no timer."""
    rng = Random(f"ends/{seed}")
    settings = [
        Configuration(
            arq=rng.choice(ARQ_MODES.names()),
            idle_timeout=rng.choice([1, 5, 30]) * SECOND,
            handshake_timeout=rng.choice([1, 4]) * SECOND,
        )
        for _ in range(2)
    ]
    pair = Pair(left=settings[0], right=settings[1], to_right=network(rng), to_left=network(rng), seed=seed)
    pair.connect()
    pair.run_for(rng.choice([0, 1, 10, 200, 3000]) * MILLISECOND)
    for end in (pair.connection, pair.accepted):
        if end is not None and not end.closed and end.statistics().smoothed_rtt and rng.random() < 0.8:
            end.write(end.open_stream(), bytes(rng.randrange(200_000)), end=rng.random() < 0.5)
    pair.drain()
    pair.run_for(rng.randrange(300) * MILLISECOND)
    if rng.random() < 0.3:
        pair.to_left = pair.to_right = lambda datagram, rng: []
    for endpoint in rng.sample((pair.left, pair.right), rng.randrange(3)):
        endpoint.close(now=pair.now)
        pair.drain()
        pair.run_for(rng.randrange(20) * MILLISECOND)
    steps = 0
    while pair.left.connections or pair.right.connections:
        assert pair.step()
        steps += 1
        assert steps < MAX_STEPS
    assert pair.left.next_timeout() is None
    assert pair.right.next_timeout() is None
    for events in (pair.left_events, pair.right_events):
        closed = [isinstance(event, ConnectionClosed) for event in events]
        assert closed.count(True) == (1 if events else 0)
        assert not events or closed[-1]


def test_a_burst_may_end_in_a_short_bulk_packet() -> None:
    """Seed 22: room was made for a negative count of bytes."""
    run(22)
