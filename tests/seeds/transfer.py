"""A seed as a transfer: random streams both ways over a random network arrive exactly, and nothing is left.

One seed is one run of everything at once: mode, profile, controller, windows, sizes, both directions'
faults, and a script of both ends.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from node.protocol.connection import Connection
from node.protocol.errors import LocalProtocolError
from node.protocol.events import (
    ConnectionEstablished,
    SendingGivenUp,
    StreamAcknowledged,
    StreamDataReceived,
    StreamReset,
)
from node.protocol.time import MILLISECOND, SECOND, Duration
from tests.seeds.leftovers import expect_nothing_left
from tests.seeds.settings import further_settings, network, transfer_settings
from tests.support.watched import pair_of

#: A run that takes more steps than this has stopped getting anywhere.
MAX_STEPS = 100_000


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
        """Write to one of our streams."""
        self.connection.write(stream_id, data, end=end)
        self.sent[stream_id] += data
        if end:
            self.open.remove(stream_id)

    def read(self, events: list[object], *, now_or_never: bool) -> None:
        """Take what has arrived, and answer the end of a bidirectional stream of the peer with ours."""
        lost = {event.stream_id for event in events if isinstance(event, SendingGivenUp)}  # SPEC 12.5-4
        self.given_up |= lost
        self.open = [stream_id for stream_id in self.open if stream_id not in lost]
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
    """Run a seed; AssertionError: it does not arrive, arrives changed, or leaves something behind."""
    transfer = _Transfer(seed)
    transfer.write_and_read()
    transfer.finish()
    transfer.close()
    expect_nothing_left(transfer.pair, before=transfer.forget_connections)


class _Transfer:
    """A run on its way."""

    def __init__(self, seed: int) -> None:
        rng = self._rng = Random(f"seeds/{seed}")
        left, right = transfer_settings(rng), transfer_settings(rng)
        later = Random(f"seeds/{seed}/later")
        left, right = further_settings(left, right, later)
        # The initiator moves: its NAT gives it another port or address, or it says so itself.
        self._moves = later if later.random() < 0.3 else None
        if self._moves is not None:
            # Who moves and is silent is found by nobody, least of all through such a network.
            left = replace(left, keep_alive=5 * SECOND)
        self.pair = pair_of(seed)(
            left=left, right=right, to_right=network(rng), to_left=network(rng), seed=seed,
            read=False, coalesce=rng.random() < 0.5,
        )  # fmt: skip
        self.pair.established()
        early = self._again(rng) if left.early_data and right.early_data else {}
        assert self.pair.accepted is not None
        self._ends = (
            End(self.pair.connection, rng, patient=rng.random() < 0.3),
            End(self.pair.accepted, rng, patient=rng.random() < 0.3),
        )
        self._ends[0].sent |= early
        self._news: tuple[list[object], list[object]] = ([], [])
        self._taken = [0, 0]

    def _again(self, rng: Random) -> dict[int, bytearray]:
        """End the connection and begin another with its ticket: data goes with the first flight.

        Returns:
            What was sent early, by stream.
        """
        pair = self.pair
        pair.run_for(SECOND)
        for endpoint in (pair.left, pair.right):
            endpoint.close(now=pair.now)
        pair.drain()
        pair.run_for(600 * SECOND)
        for events in (pair.left_events, pair.right_events):
            events.clear()
        pair.accepted = None
        connection = pair.connection = pair.left.connect(pair.peer, now=pair.now)
        sent: dict[int, bytearray] = {}
        try:
            stream_id = connection.open_stream()
            sent[stream_id] = bytearray(rng.randbytes(rng.choice([0, 10, 3000, 20_000])))
            connection.write(stream_id, bytes(sent[stream_id]), end=True)
        except LocalProtocolError:
            pass  # there is no ticket: the first connection was too short, or its ticket was lost
        pair.drain()
        pair.run_until(
            lambda: any(isinstance(e, ConnectionEstablished) for e in pair.right_events),
            limit=pair.now + 3600 * SECOND,
        )
        return sent

    def write_and_read(self) -> None:
        """Let both ends do what they like, while time goes on by leaps."""
        rng = self._rng
        for _ in range(rng.randrange(5, 30)):
            rng.choice(self._ends).act()
            self.pair.drain()
            self._take()
            self._move()
            if rng.random() < 0.5:
                self._go_on(rng.randrange(80 * MILLISECOND))

    def _move(self) -> None:
        """Let the initiator be somewhere else, now and then."""
        rng = self._moves
        if rng is None or rng.random() < 0.8:
            return
        self.pair.left_address = (rng.choice(["left", "elsewhere"]), rng.randrange(1, 4))
        if rng.random() < 0.5:
            try:
                self.pair.connection.migrate(now=self.pair.now)
            except LocalProtocolError:
                pass  # no ID of the peer's is left to move to
        self.pair.drain()

    def finish(self) -> None:
        """End all streams, and wait until all is there."""
        pair = self.pair
        for end in self._ends:
            for stream_id in list(end.open):
                end.write(stream_id, b"the end", end=True)
        pair.drain()
        for steps in range(MAX_STEPS):
            self._take()
            if self._all_there():
                break
            assert steps < MAX_STEPS - 1, "does not get anywhere"
            if not pair.step():
                # Nothing will happen of itself: only the application's reading can be what is waited for.
                for end, events in zip(self._ends, self._news, strict=True):
                    end.read(events, now_or_never=True)
                pair.drain()
                assert self._all_there() or pair.next_time() is not None, "stands still"
        assert pair.closed(right=False) is None
        assert pair.closed(right=True) is None

    def close(self) -> None:
        """Close at both ends, and wait until both are forgotten."""
        for end in self._ends:
            end.connection.close(now=self.pair.now)
        self.pair.drain()
        self.pair.run_for(600 * SECOND)

    def forget_connections(self) -> None:
        """Let go what of the connections only this run holds."""
        del self._ends, self.pair.connection
        self.pair.accepted = None

    def _take(self) -> None:
        lists = (self.pair.left_events, self.pair.right_events)
        for side, (end, events) in enumerate(zip(self._ends, lists, strict=True)):
            self._news[side].extend(events[self._taken[side] :])
            self._taken[side] = len(events)
            end.read(self._news[side], now_or_never=False)
        self.pair.drain()

    def _go_on(self, duration: Duration) -> None:
        until = self.pair.now + duration
        while (following := self.pair.next_time()) is not None and following <= until:
            self.pair.step()
            self._take()
        self.pair.now = max(self.pair.now, until)

    def _all_there(self) -> bool:
        left, right = self._ends
        for end, other, events in (
            (left, right, self.pair.left_events), (right, left, self.pair.right_events),
        ):  # fmt: skip
            for stream_id, data in end.sent.items():
                got = other.received.get(stream_id, b"")
                assert data.startswith(got), f"stream {stream_id}: wrong bytes"
                if stream_id in end.given_up:
                    continue
                if got != data or StreamAcknowledged(stream_id) not in events:
                    return False
        return True
