"""Connectionless datagrams (SPEC 14): whole, at most once, from known nodes only, in bounded memory."""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace
from random import Random, SystemRandom

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from node.dissectors.sealed import SealedPacket, derive_key, fragment_problem, seal
from node.protocol.configuration import Configuration
from node.protocol.datagrams import Burst
from node.protocol.endpoint import Endpoint
from node.protocol.errors import LocalProtocolError
from node.protocol.events import DatagramReceived
from node.protocol.identity import Identity, Peer
from node.protocol.sealed import receiving, sending
from node.protocol.sealed.reassembly import MAX_BYTES, TIMEOUT
from node.protocol.sealed.receiving import MAX_EPOCHS
from node.protocol.sealed.replay import WINDOW_BITS
from node.protocol.wire.sealed import FRAGMENT_BYTES, HEADER, MAX_DATAGRAM_BYTES, MAX_SEALED_PACKET
from tests.support.sealed import SealedNode, acquainted

SIZES = [0, 1, FRAGMENT_BYTES, FRAGMENT_BYTES + 1, 2 * FRAGMENT_BYTES, 50_000, MAX_DATAGRAM_BYTES]


class Forger:
    """Seals whatever a test wants in the name of ``sender``, by the second reading of the specification."""

    def __init__(self, sender: SealedNode, target: SealedNode, *, epoch: bytes = b"\x01" * 16) -> None:
        self._head = SealedPacket(target.identity.address, sender.identity.address, epoch, 0)
        private = X25519PrivateKey.from_private_bytes(sender.identity.private_key)
        shared = private.exchange(X25519PublicKey.from_public_bytes(target.identity.public_key))
        self._key = derive_key(shared, self._head)

    def packet(self, data: bytes, *, number: int, index: int = 0, count: int = 1) -> bytes:
        """Return a packet."""
        return seal(replace(self._head, packet_number=number), self._key, index, count, data)


def data_of(size: int) -> bytes:
    return Random(size).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_a_datagram_of_any_size_arrives_whole_without_any_exchange_before(size: int) -> None:
    """SPEC 14-2, 14.2-1, 14.2-2."""
    left, right = acquainted()
    packets = left.send(right, data_of(size))
    assert max(map(len, packets)) <= MAX_SEALED_PACKET
    for packet in packets:
        burst = Burst(("left", 1), memoryview(bytearray(packet)), len(packet))
        right.endpoint.receive(burst, now=0)
    assert right.events() == [DatagramReceived(left.identity.address, data_of(size))]
    assert right.drops == {}
    assert right.packets() == []


def test_one_byte_too_many_is_refused() -> None:
    left, right = acquainted()
    with pytest.raises(LocalProtocolError, match="at most 262144"):
        left.send(right, bytes(MAX_DATAGRAM_BYTES + 1))


def test_datagrams_go_both_ways_under_different_keys() -> None:
    """SPEC 14.1-1: the direction is in the key; SPEC 11-3: both ends log both keys."""
    left, right = acquainted()
    assert right.receive(*left.send(right, b"ping")) == [b"ping"]
    assert left.receive(*right.send(left, b"pong")) == [b"pong"]
    keys = {line.split()[-1] for line in left.key_log}
    assert len(keys) == 2
    assert sorted(left.key_log) == sorted(right.key_log)
    word, source, target, epoch, _ = left.key_log[0].split()
    assert word == "STRAIT_SEALED"
    assert int(source, 16) == left.identity.address
    assert int(target, 16) == right.identity.address
    assert len(bytes.fromhex(epoch)) == 16


def test_alike_datagrams_share_a_burst() -> None:
    left, right = acquainted()
    for index in range(100):
        left.endpoint.send_datagram(left.as_peer(right), bytes([index]) * 40)
    transmit = left.endpoint.transmit(now=0)
    assert transmit is not None
    assert transmit.count == 64
    assert transmit.destination == ("right", 1)


def test_a_pre_shared_key_must_be_the_same() -> None:
    left, right = acquainted(psk=b"k" * 32)
    assert right.receive(*left.send(right, b"secret")) == [b"secret"]
    stranger = SealedNode("left", psk=b"x" * 32, epoch=9)
    assert right.receive(*stranger.send(right, b"secret")) == []
    assert right.drops == {"SEALED packet with a wrong tag": 1}
    with pytest.raises(LocalProtocolError, match="psk"):
        Peer(left.identity.public_key, ("left", 1), psk=b"short")


# Who may send, and to whom


def test_an_unknown_node_is_not_heard() -> None:
    """SPEC 14-1."""
    left, right = acquainted()
    stranger = SealedNode("stranger")
    assert right.receive(*stranger.send(right, b"let me in")) == []
    assert right.drops == {"SEALED packet of an unknown node": 1}
    assert right.receive(*left.send(right, b"hello")) == [b"hello"]


def test_a_packet_for_another_node_is_dropped() -> None:
    """SPEC 2-4, 14-1; a changed target address does not help, since the header is authenticated."""
    left, right = acquainted()
    third = SealedNode("third")
    third.knows(left)
    (packet,) = left.send(right, b"for right")
    assert third.receive(packet) == []
    assert third.drops == {"for another node": 1}
    redirected = packet[:5] + third.identity.address.to_bytes(8, "big") + packet[13:]
    assert third.receive(redirected) == []
    assert third.drops["SEALED packet with a wrong tag"] == 1


def test_another_known_node_cannot_speak_in_ones_name() -> None:
    left, right = acquainted()
    third = SealedNode("third")
    right.knows(third)
    (packet,) = third.send(right, b"I am left")
    assert right.receive(packet[:13] + left.identity.address.to_bytes(8, "big") + packet[21:]) == []


def test_an_endpoint_without_datagrams_neither_sends_nor_takes_them() -> None:
    left, right = acquainted()
    identity = Identity(Random("plain").randbytes(32))
    plain = Endpoint(identity, Configuration(), rng=Random(1))
    with pytest.raises(LocalProtocolError, match="without connectionless"):
        plain.send_datagram(left.as_peer(right), b"x")
    (packet,) = left.send(right, b"x")
    plain.receive(Burst(("left", 1), memoryview(bytearray(packet)), len(packet)), now=0)
    assert plain.drops.counts == {"unknown packet type": 1}


def test_a_node_cannot_send_to_itself_nor_to_a_key_that_is_none() -> None:
    left, _ = acquainted()
    with pytest.raises(LocalProtocolError, match="itself"):
        left.send(left, b"x")
    with pytest.raises(LocalProtocolError, match="low order"):
        left.endpoint.send_datagram(Peer(bytes(32), ("nowhere", 1)), b"x")


# Damage and replay


def test_every_flipped_bit_and_every_cut_is_dropped_and_counted_once() -> None:
    left, right = acquainted()
    (packet,) = left.send(right, b"important")
    tries = 0
    for bit in range(8, len(packet) * 8):
        damaged = bytearray(packet)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        assert right.receive(bytes(damaged)) == []
        tries += 1
    for size in range(1, len(packet)):
        assert right.receive(packet[:size]) == []
        tries += 1
    assert sum(right.drops.values()) == tries
    assert right.receive(packet) == [b"important"]


@pytest.mark.parametrize("length", [1, 44, 64, MAX_SEALED_PACKET + 1, 60_000])
def test_a_packet_of_impossible_length_is_dropped(length: int) -> None:
    """SPEC 14-2."""
    _, right = acquainted()
    right.receive(b"\x51" + bytes(length - 1))
    assert right.drops == {"SEALED packet of wrong length": 1}


@pytest.mark.parametrize("size", [10, 5000])
def test_no_packet_is_taken_twice(size: int) -> None:
    """SPEC 14-4: at most once, in whatever order the copies come."""
    left, right = acquainted()
    sent = [data_of(size + index) for index in range(10)]
    packets = [packet for data in sent for packet in left.send(right, data)]
    copies = packets * 3
    Random(5).shuffle(copies)
    assert sorted(right.receive(*copies)) == sorted(sent)
    assert right.drops == {"SEALED packet replayed": 2 * len(packets)}


def test_the_replay_window_has_both_its_ends() -> None:
    """SPEC 14-4: the last number that still counts, and the first that does not."""
    left, right = acquainted()
    packets = [left.send(right, bytes([index & 0xFF]))[0] for index in range(WINDOW_BITS + 1)]
    assert right.receive(packets[-1]) == [b"\x00"]
    assert right.receive(packets[1]) == [b"\x01"]
    assert right.receive(packets[0]) == []
    assert right.drops == {"SEALED packet replayed": 1}


def test_a_huge_packet_number_costs_nothing() -> None:
    """SPEC 14-4: the peer chooses the number; no shift by 2^64 bits."""
    left, right = acquainted()
    forger = Forger(left, right)
    numbers = [0, (1 << 64) - 1, 5, (1 << 64) - 2, (1 << 64) - WINDOW_BITS, (1 << 64) - WINDOW_BITS - 1]
    taken = [right.receive(forger.packet(b"x", number=number)) for number in numbers]
    assert taken == [[b"x"], [b"x"], [], [b"x"], [b"x"], []]


# Epochs


def test_after_a_restart_the_sender_is_heard_and_its_old_packets_are_not() -> None:
    """SPEC 14-3, 14-5."""
    left, right = acquainted()
    old = [left.send(right, bytes([index]))[0] for index in range(3)]
    assert right.receive(old[0]) == [b"\x00"]
    left.restart(epoch=2)
    assert right.receive(*left.send(right, b"new life")) == [b"new life"]
    # On the way during the restart: the epoch is known, so the number tells that it is no replay.
    assert right.receive(old[1]) == [b"\x01"]
    assert right.receive(old[0], old[1]) == []
    assert right.drops == {"SEALED packet replayed": 2}


def test_an_epoch_never_seen_before_a_newer_one_is_refused() -> None:
    """SPEC 14-5."""
    left, right = acquainted()
    (old,) = left.send(right, b"recorded")
    left.restart(epoch=2)
    assert right.receive(*left.send(right, b"new")) == [b"new"]
    assert right.receive(old) == []
    assert right.drops == {"SEALED packet of an old epoch": 1}


def test_epochs_of_a_peer_are_bounded_and_the_oldest_is_the_one_that_is_forgotten() -> None:
    """SPEC 14-5."""
    left, right = acquainted()
    spare = []
    for epoch in range(1, MAX_EPOCHS + 2):
        left.restart(epoch=epoch)
        assert right.receive(*left.send(right, b"x")) == [b"x"]
        spare.append(left.send(right, b"y")[0])
    assert right.receive(spare[0]) == []
    assert right.drops == {"SEALED packet of an old epoch": 1}
    assert right.receive(*spare[1:]) == [b"y"] * MAX_EPOCHS


def test_a_restarted_receiver_takes_old_packets_once_more_until_a_newer_epoch_comes() -> None:
    """SPEC 14-6: what it cannot know."""
    left, right = acquainted()
    (old,) = left.send(right, b"pay")
    assert right.receive(old) == [b"pay"]
    right.restart(epoch=2)
    assert right.receive(old, old) == [b"pay"]
    right.restart(epoch=3)
    left.restart(epoch=2)
    assert right.receive(*left.send(right, b"new")) == [b"new"]
    assert right.receive(old) == []


def test_a_forked_copy_seals_under_a_key_of_its_own() -> None:
    """SPEC 14-3: state copied in the middle of sending; no nonce is used by both."""
    left, right = acquainted()
    left.process = os.getpid
    left.rng = SystemRandom()
    left.restart(epoch=1)
    assert right.receive(*left.send(right, b"before")) == [b"before"]
    left.endpoint.send_datagram(left.as_peer(right), b"waiting")
    inbound, outbound = os.pipe()
    child = os.fork()
    if child == 0:  # nothing of pytest's may run here twice
        os.write(outbound, b"".join(left.send(right, b"child!")))
        os._exit(0)
    os.close(outbound)
    with open(inbound, "rb") as pipe:
        from_child = pipe.read()
    os.waitpid(child, 0)
    from_parent = left.send(right, b"parent")
    assert len(from_child) == len(from_parent[1])  # the child has not sent what waited in its parent
    nonces = [packet[21:45] for packet in (from_child, *from_parent)]
    assert len(set(nonces)) == 3
    assert from_child[21:37] > from_parent[0][21:37]
    assert right.receive(*from_parent) == [b"waiting", b"parent"]
    assert right.receive(from_child) == [b"child!"]


def test_an_epoch_ends_before_the_cipher_wears_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 14-3."""
    monkeypatch.setattr(sending, "MAX_PACKETS_OF_EPOCH", 10)
    left, right = acquainted()
    packets = [packet for _ in range(5) for packet in left.send(right, data_of(4 * FRAGMENT_BYTES))]
    epochs = [packet[21:37] for packet in packets]
    assert [epochs.count(epoch) for epoch in dict.fromkeys(epochs)] == [8, 8, 4]
    assert sorted(set(epochs)) == list(dict.fromkeys(epochs))
    assert right.receive(*packets) == [data_of(4 * FRAGMENT_BYTES)] * 5


# Fragments


def test_fragments_in_any_order_are_put_together() -> None:
    left, right = acquainted()
    packets = left.send(right, data_of(50_000)) + left.send(right, data_of(50_001))
    Random(3).shuffle(packets)
    assert sorted(right.receive(*packets)) == sorted([data_of(50_000), data_of(50_001)])


def test_a_datagram_without_one_of_its_fragments_is_given_up_in_time() -> None:
    """SPEC 14.2-3."""
    left, right = acquainted()
    packets = left.send(right, data_of(5000))
    right.receive(*packets[1:], now=7)
    assert right.endpoint.next_timeout() == 7 + TIMEOUT
    right.endpoint.handle_timeout(now=7 + TIMEOUT)
    assert right.endpoint.next_timeout() is None
    assert right.receive(packets[0], now=7 + TIMEOUT) == []


def test_a_reassembly_bomb_is_held_in_its_bounds() -> None:
    """SPEC 14.2-3: one source with one fragment of each of many datagrams, then many sources."""
    right, honest = SealedNode("right"), SealedNode("honest")
    right.knows(honest)
    half = honest.send(right, data_of(3000))
    right.receive(*half[:2])
    tracemalloc.start()
    for number in range(20):
        source = SealedNode(f"attacker {number}")
        right.knows(source)
        forger = Forger(source, right)
        for first in range(0, 4000, 231):
            right.receive(forger.packet(bytes(FRAGMENT_BYTES), index=0, count=231, number=first))
        if number == 0:
            # One source alone does not crowd another out.
            assert right.receive(half[2]) == [data_of(3000)]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert MAX_BYTES // 2 < held < MAX_BYTES + (2 << 20)
    assert right.receive(*honest.send(right, data_of(9000))) == [data_of(9000)]


@pytest.mark.parametrize(
    ("index", "count", "size"),
    [
        (0, 0, 5), (1, 1, 5), (0, 232, FRAGMENT_BYTES), (0, 2, 100), (1, 2, 0), (60_000, 65_535, 1),
        (230, 231, MAX_DATAGRAM_BYTES - 230 * FRAGMENT_BYTES + 1),
    ],
)  # fmt: skip
def test_fragments_that_make_no_sense_are_dropped(index: int, count: int, size: int) -> None:
    """SPEC 14.2-1: sealed by a peer that breaks the rules."""
    left, right = acquainted()
    forger = Forger(left, right)
    assert fragment_problem(index, count, size) is not None
    packet = forger.packet(bytes(size), index=index, count=count, number=100_000)
    assert right.receive(packet) == []
    assert sum(right.drops.values()) == 1
    assert right.endpoint.next_timeout() is None


def test_a_fragment_before_the_first_packet_is_dropped() -> None:
    """SPEC 14.2-2: the first fragment's number would be below 0."""
    left, right = acquainted()
    assert right.receive(Forger(left, right).packet(b"x", index=2, count=3, number=1)) == []
    assert right.drops == {"SEALED packet with a wrong fragment number": 1}


def test_fragments_that_contradict_each_other_never_make_a_datagram() -> None:
    """SPEC 14.2-2."""
    left, right = acquainted()
    forger = Forger(left, right)
    right.receive(forger.packet(bytes(FRAGMENT_BYTES), index=0, count=3, number=0))
    right.receive(forger.packet(b"end", index=1, count=2, number=1))
    assert right.receive(forger.packet(b"end", index=2, count=3, number=2)) == []


# Bounds at the application's side


def test_datagrams_that_nobody_takes_are_bounded() -> None:
    left, right = acquainted()
    sent = 0
    while "datagrams that nobody takes" not in right.drops:
        for packet in left.send(right, bytes(MAX_DATAGRAM_BYTES)):
            right.endpoint.receive(Burst(("l", 1), memoryview(bytearray(packet)), len(packet)), now=0)
        sent += 1
    assert sent * MAX_DATAGRAM_BYTES <= receiving.MAX_WAITING_BYTES + MAX_DATAGRAM_BYTES
    assert len(right.events()) == sent - 1
    assert right.receive(*left.send(right, b"room again")) == [b"room again"]


def test_datagrams_that_the_driver_does_not_send_are_bounded() -> None:
    left, right = acquainted()
    peer = left.as_peer(right)

    def send_for_ever() -> None:
        while True:
            left.endpoint.send_datagram(peer, bytes(1000))

    with pytest.raises(LocalProtocolError, match="wait already"):
        send_for_ever()
    sent = left.packets()
    assert len(sent) * 1000 <= sending.MAX_QUEUED_BYTES
    left.endpoint.send_datagram(peer, b"again")


def test_a_forged_flood_leaves_no_state_behind() -> None:
    """Each packet of a known source with an epoch of its own: a key is tried, nothing is kept."""
    left, right = acquainted()
    rng = Random(8)
    head = HEADER.pack(0x51, 0x53545201, right.identity.address, left.identity.address, bytes(16), 0)
    for _ in range(300):
        right.receive(head[:21] + rng.randbytes(24) + rng.randbytes(60))
    assert right.drops == {"SEALED packet with a wrong tag": 300}
    assert right.receive(*left.send(right, b"still here")) == [b"still here"]


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_are_dropped_without_an_exception(seed: int) -> None:
    left, right = acquainted()
    rng = Random(seed)
    address = right.identity.address.to_bytes(8, "big") + left.identity.address.to_bytes(8, "big")
    for _ in range(500):
        body = rng.randbytes(rng.randrange(1250))
        head = b"\x51\x53\x54\x52\x01" + address if rng.random() < 0.7 else b"\x51"
        right.receive(head + body)
    assert sum(right.drops.values()) == 500
