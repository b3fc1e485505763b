"""How many calls the hot paths cost: a gate that is the same on every machine (docs/decisions/0032).

Caps are what was reached and a twentieth. Whoever comes to need more says so here, and why.
"""

from __future__ import annotations

import hashlib
from collections import deque
from random import Random

import pytest

from node.protocol.arena import Arena
from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.datagrams import Burst, Transmit
from node.protocol.endpoint import Endpoint
from node.protocol.events import StreamDataReceived
from node.protocol.identity import Identity, Peer
from node.protocol.time import MICROSECOND, SECOND, Instant
from tests.attacks.caps import calls_of

LEFT, RIGHT = ("127.0.0.1", 1), ("127.0.0.1", 2)
#: Time that passes between two looks at both ends: bursts grow to what a GSO send holds, as on loopback.
STEP = 100 * MICROSECOND
#: Bursts that a driver hands in before it drains.
BATCH = 16
MEGABYTE = 1_000_000
#: Packets beside those of a hundred echoes: how often to acknowledge is asked for anew now and then.
REST = 2


class Lockstep:
    """Two endpoints, driven as ``UdpDriver`` drives one: bursts in place, events, then all to be sent."""

    def __init__(self, *, congestion: str = "cubic", lost_one_in: int = 0) -> None:
        configuration = Configuration(congestion=congestion)
        keys = {place: Identity(hashlib.sha256(repr(place).encode()).digest()) for place in (LEFT, RIGHT)}
        self.ends = {
            place: Endpoint(identity, configuration, rng=Random(place[1])) for place, identity in keys.items()
        }
        self.now: Instant = SECOND
        self._arenas = {place: Arena() for place in self.ends}
        self._inbox: dict[tuple[str, int], deque[tuple[bytes, Transmit]]] = {e: deque() for e in self.ends}
        #: Of the packets with data, one in so many is lost; 0: none is.
        self._lost_one_in = lost_one_in
        self._packets = 0
        self.received = bytearray()
        self.echoes = False
        self.total = 0
        self.chunk = b""
        self.connection = self.ends[LEFT].connect(Peer(keys[RIGHT].public_key, RIGHT), now=self.now)
        self.drain(LEFT)
        while not self.connection.writable:
            self.step()
        self.stream = self.connection.open_stream()

    def step(self) -> None:
        """Let time pass, and both ends act."""
        self.now += STEP
        for place, end in reversed(self.ends.items()):
            due = end.next_timeout()
            if due is not None and due <= self.now:
                end.handle_timeout(now=self.now)
                self.drain(place)
            inbox = self._inbox[place]
            while inbox:
                for _ in range(min(BATCH, len(inbox))):
                    data, sent = inbox.popleft()
                    if self._lost_one_in and place == RIGHT:
                        data = self._without_lost(data, sent.segment_size)
                    arena = self._arenas[place]
                    arena.view[: len(data)] = data
                    source = LEFT if place == RIGHT else RIGHT
                    burst = Burst(source, arena.view[: len(data)], sent.segment_size, sent.ecn, arena)
                    end.receive(burst, now=self.now)
                self.drain(place)

    def _without_lost(self, data: bytes, size: int) -> bytes:
        """Lose packets of a burst; what follows them is joined to what was before, as GRO does."""
        kept = []
        for start in range(0, len(data), size):
            self._packets += 1
            if self._packets % self._lost_one_in:
                kept.append(data[start : start + size])
        return b"".join(kept)

    def drain(self, place: tuple[str, int]) -> None:
        """Handle events, and send all there is."""
        end = self.ends[place]
        again = True
        self._on_drained(end)
        while again:
            while (sent := end.transmit(now=self.now)) is not None:
                self._inbox[sent.destination].append((bytes(sent.buffer), sent))
            again = self._on_drained(end)
        end.next_timeout()

    def _on_drained(self, end: Endpoint) -> bool:
        changed = False
        while (found := end.next_event()) is not None:
            connection, event = found
            if isinstance(event, StreamDataReceived):
                self._on_data(connection, event)
                changed = True
        return changed

    def _on_data(self, connection: Connection, event: StreamDataReceived) -> None:
        data = connection.read(event.stream_id)
        if connection is self.connection:
            self.received += data
        elif self.echoes:
            connection.write(event.stream_id, bytes(data))
        else:
            self.total += len(data)
            self.connection.write(self.stream, self.chunk[: len(data)])

    def fill(self, size: int) -> None:
        """Send so many bytes at first, and as many again as the other end takes."""
        self.chunk = bytes(size)
        self.connection.write(self.stream, self.chunk)

    def run_until(self, total: int) -> None:
        """Go on until so many bytes have arrived."""
        while self.total < total:
            self.step()
            self.drain(LEFT)

    def echo(self, count: int) -> None:
        """Send so many messages of 64 bytes, each when the one before has come back."""
        for _ in range(count):
            self.connection.write(self.stream, b"e" * 64)
            self.drain(LEFT)
            wanted = len(self.received) + 64
            while len(self.received) < wanted:
                self.step()


@pytest.mark.parametrize(("congestion", "most"), [("cubic", 12_250), ("bbr", 12_770)])
def test_a_megabyte_of_bulk_costs_no_more_calls_than_it_did(congestion: str, most: int) -> None:
    """Of both ends together: 705 packets, each sealed, opened and copied, in two dozen bursts."""
    lockstep = Lockstep(congestion=congestion)
    lockstep.fill(4 * MEGABYTE)
    lockstep.run_until(16 * MEGABYTE)
    begin = lockstep.total
    calls = calls_of(lambda: lockstep.run_until(begin + 16 * MEGABYTE))
    assert calls * MEGABYTE // (lockstep.total - begin) <= most


def test_a_megabyte_through_loss_costs_no_more_calls_than_it_did() -> None:
    """One packet in a hundred: what is lost is found and sent again, and each gap is acknowledged at once."""
    lockstep = Lockstep(congestion="bbr", lost_one_in=100)
    lockstep.fill(4 * MEGABYTE)
    lockstep.run_until(16 * MEGABYTE)
    begin = lockstep.total
    calls = calls_of(lambda: lockstep.run_until(begin + 16 * MEGABYTE))
    assert calls * MEGABYTE // (lockstep.total - begin) <= 14_750


@pytest.mark.parametrize(("congestion", "most"), [("cubic", 720), ("bbr", 823)])
def test_an_echo_costs_no_more_calls_than_it_did(congestion: str, most: int) -> None:
    """Of both ends together: two packets, each with an acknowledgement."""
    lockstep = Lockstep(congestion=congestion)
    lockstep.echoes = True
    lockstep.echo(50)
    before = lockstep.connection.statistics()
    calls = calls_of(lambda: lockstep.echo(100))
    after = lockstep.connection.statistics()
    assert after.packets_sent - before.packets_sent <= 100 + REST
    assert after.packets_received - before.packets_received <= 100 + REST
    assert calls // 100 <= most
