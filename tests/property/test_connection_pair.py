"""A pair of connections through a hostile network: what is delivered is what was sent, exactly once."""

from __future__ import annotations

import contextlib

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from node.protocol.configuration import Configuration
from node.protocol.errors import LocalProtocolError
from node.protocol.events import MessageReceived
from node.protocol.time import MILLISECOND, SECOND
from tests.support.pair import hostile
from tests.support.watched import WatchedPair

MODES = ["selective-repeat", "stop-and-wait", "go-back-n"]


class HostilePair(RuleBasedStateMachine):
    """Streams are opened, written and ended at random on both sides, time goes on at random."""

    @initialize(
        seed=st.integers(0, 2**16),
        arq=st.sampled_from(MODES),
        integrity=st.sampled_from(["aead", "crc32c"]),
        loss=st.floats(0, 0.3),
        duplicate=st.floats(0, 0.2),
        reorder=st.floats(0, 0.3),
        corrupt=st.floats(0, 0.1),
        window=st.integers(1300, 60_000),
    )
    def connect(
        self, seed: int, arq: str, integrity: str, loss: float, duplicate: float, reorder: float,
        corrupt: float, window: int,
    ) -> None:  # fmt: skip
        fate = hostile(loss=loss, duplicate=duplicate, reorder=reorder, corrupt=corrupt)
        ours = Configuration(
            arq=arq, integrity=integrity, connection_window=2 * window, stream_window=window,
            handshake_timeout=600 * SECOND, idle_timeout=0,
        )  # fmt: skip
        theirs = Configuration(connection_window=2 * window, stream_window=window, idle_timeout=0)
        self.pair = WatchedPair(left=ours, right=theirs, to_right=fate, seed=seed)
        self.pair.established()
        self.sent: dict[bool, dict[int, bytearray]] = {True: {}, False: {}}
        self.open: list[tuple[bool, int]] = []
        self.byte = seed
        self.messages = 0
        self.lasting: dict[bool, list[bytes]] = {True: [], False: []}
        self.fleeting: dict[bool, list[bytes]] = {True: [], False: []}

    def side(self, left: bool) -> object:
        return self.pair.connection if left else self.pair.accepted

    @precondition(lambda self: len(self.open) < 6)
    @rule(left=st.booleans(), unidirectional=st.booleans())
    def open_stream(self, left: bool, unidirectional: bool) -> None:
        connection = self.pair.connection if left else self.pair.accepted
        assert connection is not None
        stream_id = connection.open_stream(unidirectional=unidirectional)
        self.sent[left][stream_id] = bytearray()
        self.open.append((left, stream_id))

    @precondition(lambda self: self.open)
    @rule(pick=st.integers(0, 100), size=st.integers(0, 20_000), end=st.booleans())
    def write(self, pick: int, size: int, end: bool) -> None:
        left, stream_id = self.open[pick % len(self.open)]
        connection = self.pair.connection if left else self.pair.accepted
        assert connection is not None
        self.byte = (self.byte * 31 + 7) & 0xFF
        data = bytes((self.byte + i * 3) & 0xFF for i in range(size))
        connection.write(stream_id, data, end=end)
        self.sent[left][stream_id] += data
        if end:
            self.open.remove((left, stream_id))
        self.pair.drain()

    @rule(left=st.booleans(), size=st.integers(0, 1200), deadline=st.none() | st.integers(1, 300))
    def send_message(self, left: bool, size: int, deadline: int | None) -> None:
        connection = self.pair.connection if left else self.pair.accepted
        assert connection is not None
        self.messages += 1
        data = self.messages.to_bytes(4, "big") + bytes(size)
        due = None if deadline is None else self.pair.now + deadline * MILLISECOND
        connection.send_message(data, due, now=self.pair.now)
        (self.lasting if deadline is None else self.fleeting)[left].append(data)
        self.pair.drain()

    @rule(left=st.booleans())
    def update_keys(self, left: bool) -> None:
        connection = self.pair.connection if left else self.pair.accepted
        assert connection is not None
        with contextlib.suppress(LocalProtocolError):  # the last one is under way, or there are no keys
            connection.update_keys()

    @rule(duration=st.integers(1, 200))
    def wait(self, duration: int) -> None:
        self.pair.run_for(duration * MILLISECOND)

    @invariant()
    def what_arrived_is_a_prefix_of_what_was_sent(self) -> None:
        if not hasattr(self, "pair"):
            return
        assert self.pair.closed(right=True) is None
        assert self.pair.closed(right=False) is None
        for left, received in ((True, self.pair.right_data), (False, self.pair.left_data)):
            for stream_id, data in received.items():
                assert self.sent[left][stream_id].startswith(data)
        for left in (True, False):
            came = self.received(left)
            assert len(came) == len(set(came))
            assert set(came) <= {*self.lasting[left], *self.fleeting[left]}

    def received(self, left: bool) -> list[bytes]:
        """The messages of one side that came at the other."""
        events = self.pair.right_events if left else self.pair.left_events
        return [event.data for event in events if isinstance(event, MessageReceived)]

    def teardown(self) -> None:
        """In the end all of it arrives."""
        if not hasattr(self, "pair"):
            return

        def all_there() -> bool:
            if any(set(self.lasting[left]) - set(self.received(left)) for left in (True, False)):
                return False
            received = {True: self.pair.right_data, False: self.pair.left_data}
            return all(
                received[left].get(stream_id, b"") == data
                for left in (True, False)
                for stream_id, data in self.sent[left].items()
            )

        self.pair.run_until(all_there, limit=self.pair.now + 3600 * SECOND)


HostilePair.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHostilePair = HostilePair.TestCase
