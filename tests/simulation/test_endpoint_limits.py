"""What one endpoint holds at most, and the first that is one too many."""

from __future__ import annotations

from random import Random

import pytest

from node.dissectors.protection import crc32c
from node.protocol import endpoint as endpoint_module
from node.protocol.attempts import MAX_EXPECTED
from node.protocol.configuration import Configuration
from node.protocol.datagrams import Burst
from node.protocol.errors import LocalProtocolError
from node.protocol.handshake import Initiator
from node.protocol.identity import Identity
from node.protocol.setting_up import MAX_REPLIES
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.setup import INITIATION, SetupPacket
from tests.seeds.leftovers import held
from tests.support.pair import LEFT, Pair


def initiation(pair: Pair, seed: int) -> bytes:
    """A valid INITIATION of a node nobody knows."""
    rng = Random(seed)
    identity = Identity(rng.randbytes(32))
    return Initiator(identity, pair.peer, Configuration(), rng.randbytes(8), rng).initiation()


def test_one_connection_too_many_is_refused_here_and_dropped_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "MAX_CONNECTIONS", 3)
    pair = Pair()
    for number in range(3):
        pair.inject(initiation(pair, number), to_right=True)
        pair.left.connect(pair.peer, now=0)
    assert len(pair.right.connections) == len(pair.left.connections) == 3
    pair.inject(initiation(pair, 3), to_right=True)
    assert len(pair.right.connections) == 3
    assert pair.right.drops.counts == {"too many connections": 1}
    with pytest.raises(LocalProtocolError, match="3 connections are the most"):
        pair.left.connect(pair.peer, now=0)


def test_awaited_connections_of_a_peer_are_bounded_and_can_be_taken_back() -> None:
    pair = Pair()
    for _ in range(MAX_EXPECTED):
        pair.right.expect(pair.left.identity.address, Configuration())
    with pytest.raises(LocalProtocolError, match="1024 connections from one peer"):
        pair.right.expect(pair.left.identity.address, Configuration())
    pair.right.expect_no_more(pair.left.identity.address, Configuration())
    pair.right.expect_no_more(5, Configuration())  # of whom nothing is awaited
    pair.right.expect(pair.left.identity.address, Configuration(stream_window=5000))
    for _ in range(MAX_EXPECTED):
        assert held(pair.right)
        pair.right.expect_no_more(pair.left.identity.address, Configuration())
    pair.right.expect_no_more(pair.left.identity.address, Configuration(stream_window=5000))
    assert not held(pair.right)


def test_an_awaited_connection_gets_the_windows_that_were_wanted_for_it() -> None:
    pair = Pair()
    pair.right.expect(pair.left.identity.address, Configuration(stream_window=5000))
    connection = pair.established()
    stream_id = connection.open_stream()
    connection.write(stream_id, b"x")
    assert connection.windows(stream_id).receive == (0, 5000)


def test_no_more_answers_wait_than_a_burst_asks_for() -> None:
    """Nobody drains between the datagrams of a burst: what is repeated beyond the bound gets no answer."""
    pair = Pair()
    repeated = initiation(pair, 1)
    for _ in range(MAX_REPLIES + 10):
        pair.right.receive(_burst(repeated), now=0)
    pair.drain()
    assert len(pair.wire) == MAX_REPLIES


def test_a_response_that_comes_again_before_the_first_was_acted_on_is_ignored() -> None:
    pair = Pair()
    connection = pair.connect()
    pair.run_for(5 * MILLISECOND)
    response = next(datagram for _, from_left, datagram in pair.wire if not from_left)
    connection.close(now=pair.now)
    pair.inject(response, to_right=False)
    assert connection.closed
    assert pair.left.drops.counts == {}
    pair.run_for(SECOND)
    assert pair.left.connections == ()


def test_a_noise_message_longer_than_its_packet_is_dropped() -> None:
    pair = Pair()
    target = pair.right.identity.address
    longer = bytearray(SetupPacket(INITIATION, 0x01, target, 5, bytes(8), b"12345678", 0, b"").encode())
    longer[43:45] = (1200).to_bytes(2, "big")
    longer[-4:] = crc32c(bytes(longer[:-4])).to_bytes(4, "big")
    pair.inject(bytes(longer), to_right=True)
    assert pair.right.drops.counts == {"Noise message longer than its packet": 1}


def _burst(datagram: bytes) -> Burst:
    return Burst(LEFT, memoryview(bytearray(datagram)), len(datagram))
