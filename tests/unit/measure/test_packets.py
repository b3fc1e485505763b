"""Streams are sent and read by one thread: what it could not read in time has come all the same."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from node.measuring.ends import End
from node.measuring.streams import Stream
from orchestrator.measure.packets import PacketProber

_SO_TIMESTAMPNS = 35
#: More than are read of one end at a time, and few enough for the smallest receive buffer.
COUNT = 150


@pytest.fixture
def ends() -> Iterator[dict[str, End]]:
    """The two ends of a link without loss: two UDP sockets on the loopback."""
    made = {}
    for number, name in enumerate("ab"):
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        opened.bind(("127.0.0.1", 0))
        opened.setblocking(False)
        everything, trains = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        mac, peer = bytes([2, 0, 0, 0, 0, number]), bytes([2, 0, 0, 0, 0, 1 - number])
        made[name] = End(name, opened, everything, trains, None, "127.0.0.1", mac, peer, 1500)
    for one, other in (("a", "b"), ("b", "a")):
        made[one].packets.connect(made[other].packets.getsockname())
    yield made
    for end in made.values():
        end.close()


def test_frames_that_wait_to_be_read_when_the_time_is_over_have_arrived(ends: dict[str, End]) -> None:
    """A hundred links: reading a part of what each holds takes longer than one waits for the last frame."""
    prober = PacketProber(ends, {"a": "b", "b": "a"})
    streams = {end: Stream(count=COUNT, size=100, interval=1) for end in ends}
    seen = asyncio.run(prober.send(streams, linger=0))
    for observed in seen.values():
        assert [arrival.number for arrival in observed.arrivals] == list(range(COUNT))
        assert not any(arrival.damaged for arrival in observed.arrivals)
