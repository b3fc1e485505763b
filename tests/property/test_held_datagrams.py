"""A pair of connections whose datagrams the machine holds in its hands: nothing happens by chance.

Unlike a random fate, which shrinks badly, each delivery, loss, copy, overtaking and damage is a step of
its own, so a failing run comes down to the few that matter.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from node.protocol.arq.base import ARQ_MODES
from node.protocol.configuration import INTEGRITY_CODES, Configuration
from node.protocol.congestion.base import CONTROLLERS
from node.protocol.connection import Connection
from node.protocol.datagrams import Burst
from node.protocol.errors import LocalProtocolError
from node.protocol.events import (
    ConnectionClosed,
    MessageAcknowledged,
    MessageExpired,
    MessageReceived,
    StreamAcknowledged,
    StreamReset,
)
from node.protocol.recovery.acknowledgements import MAX_KEPT_RANGES
from node.protocol.time import MILLISECOND, SECOND, Duration
from node.protocol.wire.frames import Ping
from tests.support.pair import LEFT, RIGHT, Pair, perfect

#: Datagrams that the machine holds; the oldest is lost when it holds more.
HANDS = 60
#: Wake-ups in one step of time: timers 3 ms apart and more, and a few for what each leads to.
WAKES_A_MILLISECOND = 4
#: Bursts that may be out: each of this machine's steps sends a few, and a step back leaves them out.
MAX_RECORDS = 1000
#: Control frames that may wait: credit for each stream of this machine, and what it asked for.
MAX_CONTROL = 200


class HeldDatagrams(RuleBasedStateMachine):
    """Both applications, and the network between them, one step at a time."""

    @initialize(
        seed=st.integers(0, 255),
        arq=st.sampled_from(ARQ_MODES.names()),
        integrity=st.sampled_from(sorted(INTEGRITY_CODES)),
        congestion=st.sampled_from(CONTROLLERS.names()),
        window=st.integers(1300, 60_000),
        size=st.sampled_from([1200, 1452, 4000]),
    )
    def connect(self, seed: int, arq: str, integrity: str, congestion: str, window: int, size: int) -> None:
        ours = Configuration(
            arq=arq, integrity=integrity, congestion=congestion, max_datagram_size=size,
            connection_window=2 * window, stream_window=window, idle_timeout=0,
        )  # fmt: skip
        theirs = Configuration(connection_window=2 * window, stream_window=window, idle_timeout=0)
        self.window = window
        self.pair = Pair(left=ours, right=theirs, seed=seed, read=False)
        self.pair.established()
        self.held: list[tuple[bool, bytes]] = []
        self.pair.to_right = lambda datagram, rng: self._hold(datagram, to_right=True)
        self.pair.to_left = lambda datagram, rng: self._hold(datagram, to_right=False)
        self.sent: dict[bool, dict[int, bytearray]] = {True: {}, False: {}}
        self.received: dict[bool, dict[int, bytearray]] = {True: {}, False: {}}
        #: What each side sent as messages, by number.
        self.messages: dict[bool, dict[int, bytes]] = {True: {}, False: {}}
        self.given_up: set[tuple[bool, int]] = set()
        self.open: list[tuple[bool, int]] = []
        self.chance = Random(seed)
        self.ended = False

    def _hold(self, datagram: bytearray, *, to_right: bool) -> list[Duration]:
        self.held.append((to_right, bytes(datagram)))
        del self.held[:-HANDS]
        return []

    def side(self, left: bool) -> Connection:
        connection = self.pair.connection if left else self.pair.accepted
        assert connection is not None
        return connection

    # -- the applications

    @precondition(lambda self: len(self.open) < 6 and not self.ended)
    @rule(left=st.booleans(), unidirectional=st.booleans())
    def open_stream(self, left: bool, unidirectional: bool) -> None:
        stream_id = self.side(left).open_stream(unidirectional=unidirectional)
        self.sent[left][stream_id] = bytearray()
        self.open.append((left, stream_id))

    @precondition(lambda self: self.open and not self.ended)
    @rule(pick=st.integers(0, 9), size=st.sampled_from([0, 1, 100, 3000, 20_000]), end=st.booleans())
    def send(self, pick: int, size: int, end: bool) -> None:
        left, stream_id = self.open[pick % len(self.open)]
        data = self.chance.randbytes(size)
        try:
            self.side(left).write(stream_id, data, end=end)
        except LocalProtocolError:  # the peer stopped it
            assert (left, stream_id) in self.given_up
            self.open.remove((left, stream_id))
            return
        self.sent[left][stream_id] += data
        if end:
            self.open.remove((left, stream_id))
        self.pair.drain()

    @precondition(lambda self: not self.ended)
    @rule(left=st.booleans(), size=st.integers(0, 900), patience=st.sampled_from([None, 1, 50, 2000]))
    def send_message(self, left: bool, size: int, patience: int | None) -> None:
        """A message, which arrives whole and once or not at all."""
        data = len(self.messages[left]).to_bytes(2, "big") + self.chance.randbytes(size)
        deadline = None if patience is None else self.pair.now + patience * MILLISECOND
        number = self.side(left).send_message(data, deadline, now=self.pair.now)
        self.messages[left][number] = data
        self.pair.drain()

    @precondition(lambda self: not self.ended)
    @rule(left=st.booleans())
    def read_late(self, left: bool) -> None:
        """Read whatever there is: until now it was not, however often there was news."""
        self._read(left)
        self.pair.drain()

    @precondition(lambda self: len(self.open) > 2 and not self.ended)
    @rule(pick=st.integers(0, 9), by_reader=st.booleans())
    def give_up(self, pick: int, by_reader: bool) -> None:
        left, stream_id = self.open[pick % len(self.open)]
        if by_reader and stream_id in self.side(not left).streams.receivers:
            self.side(not left).stop_sending(stream_id, 7)
        else:
            try:
                self.side(left).reset_stream(stream_id, 9)
            except LocalProtocolError:
                assert (left, stream_id) in self.given_up
            self.open.remove((left, stream_id))
        self.given_up.add((left, stream_id))
        self.pair.drain()

    @precondition(lambda self: not self.ended)
    @rule(left=st.booleans())
    def update_keys(self, left: bool) -> None:
        try:
            self.side(left).update_keys()
        except LocalProtocolError:
            pass  # the update before is not acknowledged yet
        self.pair.drain()

    @precondition(lambda self: not self.ended)
    @rule(port=st.integers(1, 3), knows=st.booleans())
    def move(self, port: int, knows: bool) -> None:
        """The initiator is somewhere else, and may know it."""
        self.pair.left_address = ("left", port)
        if knows:
            try:
                self.pair.connection.migrate(now=self.pair.now)
            except LocalProtocolError:
                pass  # no ID of the peer's is left to move to
        if not self.pair.connection.closed:  # who is silent behind a new address is found by nobody
            self.pair.connection.builder.control.append(Ping())
            self.pair.connection.wake()
        self.pair.drain()

    @precondition(lambda self: len(self.sent[True]) > 2 and not self.ended)
    @rule(left=st.booleans(), code=st.sampled_from([0, 0x123]), sure=st.integers(0, 3))
    def close(self, left: bool, code: int, sure: int) -> None:
        if sure:  # seldom, or most runs would be short ones
            return
        self.side(left).close(code, now=self.pair.now)
        self.ended = True
        self.pair.drain()

    # -- the network

    @precondition(lambda self: self.held)
    @rule(count=st.integers(1, 20))
    def deliver(self, count: int) -> None:
        """Deliver the oldest, in order."""
        for _ in range(min(count, len(self.held))):
            to_right, datagram = self.held.pop(0)
            self.pair.inject(datagram, to_right=to_right)

    @precondition(lambda self: self.held)
    @rule(left=st.booleans())
    def deliver_as_a_burst(self, left: bool) -> None:
        """Deliver what is of equal size and goes one way at once; one shorter may be the last."""
        mine = [datagram for to_right, datagram in self.held if to_right is left]
        if not mine:
            return
        size, burst = len(mine[0]), mine[:1]
        for datagram in mine[1:40]:
            if len(burst[-1]) < size or len(datagram) > size:
                break
            burst.append(datagram)
        for datagram in burst:
            self.held.remove((left, datagram))
        source, endpoint = (LEFT, self.pair.right) if left else (RIGHT, self.pair.left)
        endpoint.receive(Burst(source, memoryview(bytearray(b"".join(burst))), size), now=self.pair.now)
        self.pair.drain()

    @precondition(lambda self: self.held)
    @rule(pick=st.integers(0, HANDS))
    def overtake(self, pick: int) -> None:
        """Deliver one out of its order."""
        to_right, datagram = self.held.pop(pick % len(self.held))
        self.pair.inject(datagram, to_right=to_right)

    @precondition(lambda self: self.held)
    @rule(pick=st.integers(0, HANDS), count=st.integers(1, 10))
    def drop(self, pick: int, count: int) -> None:
        start = pick % len(self.held)
        del self.held[start : start + count]

    @precondition(lambda self: self.held)
    @rule(pick=st.integers(0, HANDS))
    def duplicate(self, pick: int) -> None:
        to_right, datagram = self.held[pick % len(self.held)]
        self.pair.inject(datagram, to_right=to_right)

    @precondition(lambda self: self.held)
    @rule(pick=st.integers(0, HANDS), bit=st.integers(0, 8 * 4000))
    def corrupt(self, pick: int, bit: int) -> None:
        """Deliver one with a bit flipped, in its own place or as an extra."""
        index = pick % len(self.held)
        to_right, datagram = self.held[index]
        damaged = bytearray(datagram)
        bit %= 8 * len(damaged)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        if bit & 1:
            del self.held[index]
        self.pair.inject(bytes(damaged), to_right=to_right)

    @rule(duration=st.sampled_from([1, 10, 30, 300, 4000]))
    def advance(self, duration: int) -> None:
        """Let time pass; timers run, and nothing arrives."""
        end, wakes = self.pair.now + duration * MILLISECOND, 0
        while (following := self.pair.next_time()) is not None and following <= end:
            self.pair.step()
            wakes += 1
            assert wakes <= 20 + WAKES_A_MILLISECOND * duration, "spins"
        self.pair.now = end

    # -- what always holds

    @invariant()
    def what_was_read_is_a_prefix_of_what_was_written(self) -> None:
        for left in (True, False):
            for stream_id, data in getattr(self, "received", {}).get(left, {}).items():
                assert self.sent[left][stream_id].startswith(data)

    @invariant()
    def messages_come_whole_and_at_most_once(self) -> None:
        if not hasattr(self, "pair"):
            return
        for left, there in ((True, self.pair.right_events), (False, self.pair.left_events)):
            arrived = [event.data for event in there if isinstance(event, MessageReceived)]
            assert len(arrived) == len(set(arrived))
            assert set(arrived) <= set(self.messages[left].values())

    @invariant()
    def each_end_is_told_of_one_end_at_most_and_then_of_nothing(self) -> None:
        if not hasattr(self, "pair"):
            return
        for events in (self.pair.left_events, self.pair.right_events):
            closed = [event for event in events if isinstance(event, ConnectionClosed)]
            assert len(closed) <= 1
            assert not closed or events[-1] is closed[0]
            assert self.ended or not closed, closed

    @invariant()
    def memory_is_bounded(self) -> None:
        if not hasattr(self, "pair"):
            return
        for connection in (self.pair.connection, self.pair.accepted):
            assert connection is not None
            buffered = sum(len(stream.buffer) for stream in connection.streams.receivers.values())
            # A gap is in the buffer as zeros: each stream may hold its window, though not all of it came.
            assert buffered <= self.window * max(1, len(connection.streams.receivers))
            assert len(connection.acks.received) <= MAX_KEPT_RANGES
            assert len(connection.builder.control) <= MAX_CONTROL
            assert len(connection.events) == 0  # the driver takes them all
            assert len(connection.recovery.sent) <= MAX_RECORDS

    @invariant()
    def whatever_is_waited_for_has_a_time(self) -> None:
        """A connection that is not over either has a timer or nothing on the way."""
        if not hasattr(self, "pair"):
            return
        for endpoint in (self.pair.left, self.pair.right):
            timeout = endpoint.next_timeout()
            assert timeout is None or timeout < self.pair.now + 3600 * SECOND
            for connection in endpoint.connections:
                if not connection.closed and connection.statistics().bytes_in_flight:
                    assert timeout is not None

    def _read(self, left: bool) -> None:
        """Let the application of a side read all its streams."""
        connection = self.side(left)
        for stream_id, receiver in sorted(connection.streams.receivers.items()):
            if receiver.is_message:
                with pytest.raises(LocalProtocolError, match="carries a message"):
                    connection.read(stream_id)
                continue
            data = connection.read(stream_id)
            if data:
                self.received[not left].setdefault(stream_id, bytearray()).extend(data)

    def teardown(self) -> None:
        """From now on the network is perfect: all of it arrives, and nothing is left."""
        if not hasattr(self, "pair"):
            return
        pair = self.pair
        pair.to_right = pair.to_left = perfect()
        for to_right, datagram in self.held:
            pair.inject(datagram, to_right=to_right)
        if not self.ended:
            for left, stream_id in self.open:
                try:
                    self.side(left).write(stream_id, b"the end", end=True)
                    self.sent[left][stream_id] += b"the end"
                except LocalProtocolError:
                    assert (left, stream_id) in self.given_up
            pair.drain()
            for _ in range(20_000):
                if self._all_there():
                    break
                for left in (True, False):
                    self._read(left)
                pair.drain()
                assert pair.step() or self._all_there(), "stands still"
            assert self._all_there()
            pair.connection.close(now=pair.now)
            pair.drain()
        pair.run_for(600 * SECOND)
        if pair.left.connections or pair.right.connections:
            # The CLOSE was lost, and without an idle time-out nobody else ends the other end.
            for endpoint in (pair.left, pair.right):
                endpoint.close(now=pair.now)
            pair.drain()
            pair.run_for(600 * SECOND)
        assert pair.left.connections == pair.right.connections == ()
        assert pair.next_time() is None

    def _all_there(self) -> bool:
        for left in (True, False):
            events: list[Any] = self.pair.left_events if left else self.pair.right_events
            there = self.pair.right_events if left else self.pair.left_events
            told = [e for e in events if isinstance(e, MessageAcknowledged | MessageExpired)]
            if len(told) < len(self.messages[left]):
                return False
            for stream_id, data in self.sent[left].items():
                got = self.received[left].get(stream_id, b"")
                given_up = (left, stream_id) in self.given_up
                if given_up and any(isinstance(e, StreamReset) and e.stream_id == stream_id for e in there):
                    continue
                if given_up and StreamAcknowledged(stream_id) not in events:
                    return False
                if not given_up and (got != data or StreamAcknowledged(stream_id) not in events):
                    return False
        return True


HeldDatagrams.TestCase.settings = settings(
    max_examples=40, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHeldDatagrams = HeldDatagrams.TestCase
