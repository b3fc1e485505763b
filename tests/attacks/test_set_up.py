"""Attacks on set-up that no other file is about, each with what it may cost (SPEC 3)."""

from __future__ import annotations

import os
from dataclasses import replace
from random import Random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.protocol.configuration import MAX_HALF_OPEN, Configuration
from node.protocol.datagrams import Burst
from node.protocol.endpoint import Endpoint
from node.protocol.events import ConnectionClosed, ConnectionEstablished, StreamDataReceived
from node.protocol.handshake import Initiator
from node.protocol.identity import Identity
from node.protocol.noise import Handshake, NoiseError
from node.protocol.sealed.service import SealedSettings
from node.protocol.states import ConnectionState
from node.protocol.time import MILLISECOND, SECOND, Duration
from node.protocol.wire.setup import COMPLETION, INITIATION, RESPONSE, RETRY, SetupPacket, parse_setup
from tests.attacks.caps import bytes_of
from tests.support.pair import LEFT, Pair

SET_UP = (INITIATION, RESPONSE, COMPLETION, RETRY)


@pytest.mark.parametrize("handshake", ["ik", "xx"])
@pytest.mark.parametrize("threshold", [0, 256])
def test_every_set_up_packet_may_be_replayed_at_any_time(handshake: str, threshold: int) -> None:
    """SPEC 3-3, 3-6, 3-7, 3.4-4: nothing is established twice, told twice or disturbed.

    Cap: one half-open connection for each replayed INITIATION, for as long as it may wait.
    """
    left, right = Configuration(handshake=handshake), Configuration(retry_threshold=threshold)
    pair = Pair(left=left, right=right)
    connection = pair.established()
    recorded = [(from_left, d) for _, from_left, d in pair.wire if d[0] in SET_UP]
    stream = connection.open_stream()
    connection.write(stream, b"one")
    pair.drain()
    for from_left, datagram in recorded * 2:
        pair.inject(datagram, to_right=from_left)
    connection.write(stream, b"two", end=True)
    pair.drain()
    pair.run_until(lambda: pair.right_data.get(stream, b"") == b"onetwo")
    for events in (pair.left_events, pair.right_events):
        assert sum(isinstance(event, ConnectionEstablished) for event in events) == 1
    assert len(pair.right.connections) == 1
    connection.close(now=pair.now)
    pair.drain()
    pair.run_for(60 * SECOND)
    before = len(pair.right_events)
    for from_left, datagram in recorded * 2:
        pair.inject(datagram, to_right=from_left)
    pair.run_for(60 * SECOND)
    # A replayed INITIATION of IK begins a connection that nobody can confirm; it is told to nobody.
    assert len(pair.right_events) == before
    assert len(pair.right.connections) == 0


ELSEWHERE = ("elsewhere", 9)


def copy_initiations(pair: Pair, *, lag: Duration) -> int:
    """Go on for 1.2 s; send each INITIATION from elsewhere too, ``lag`` behind. Return how many."""
    count, end = 0, pair.now + 1200 * MILLISECOND
    while pair.now < end:
        sent = [d for at, _, d in pair.wire if d[0] == INITIATION and at + lag <= pair.now]
        for datagram in sent[count:]:
            pair.inject(datagram, to_right=True, source=ELSEWHERE)
        count = len(sent)
        pair.run_for(MILLISECOND)
    return count


def expect_one_connection(pair: Pair, configuration: Configuration) -> None:
    """Fail unless one connection came of it all, with the left end where it is, and carries data."""
    for events in (pair.left_events, pair.right_events):
        assert sum(isinstance(event, ConnectionEstablished) for event in events) == 1
    assert pair.accepted is not None
    assert pair.right.connections == (pair.accepted,)
    assert pair.right.half_open == 0
    assert pair.accepted.configuration == configuration
    assert pair.accepted.remote == pair.left_address
    begin = len(pair.wire)
    stream = pair.connection.open_stream()
    pair.connection.write(stream, bytes(100_000), end=True)
    pair.drain()
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == 100_000)
    assert set(pair.destinations[begin:]) == {pair.left_address, pair.right_address}


@pytest.mark.parametrize("handshake", ["ik", "xx"])
@pytest.mark.parametrize("threshold", [0, 256])
@pytest.mark.parametrize("lag", [0, 7 * MILLISECOND, SECOND], ids=["ahead", "behind", "late"])
def test_a_copy_of_an_initiation_from_elsewhere_keeps_nobody_out(
    handshake: str, threshold: int, lag: Duration
) -> None:
    """SPEC 3-6, 3-9: who sees INITIATION and sends it from elsewhere, first or not, moves nothing.

    Cap: one answer a copy at most, no longer than it.
    """
    awaited = Configuration(stream_window=70_000, retry_threshold=threshold)
    pair = Pair(left=Configuration(handshake=handshake), right=Configuration(retry_threshold=threshold))
    pair.right.expect(pair.left.identity.address, awaited)
    pair.connect()
    copies = copy_initiations(pair, lag=lag)
    assert copies == (1 if threshold else 2)
    sent = zip(pair.wire, pair.destinations, strict=True)
    answers = [datagram for (_, _, datagram), to in sent if to == ELSEWHERE]
    assert len(answers) <= copies
    assert {len(datagram) for datagram in answers} <= {65, 1200}
    expect_one_connection(pair, awaited)


@pytest.mark.parametrize("handshake", ["ik", "xx"])
@pytest.mark.parametrize("threshold", [0, 256])
def test_a_nat_that_forgets_its_mapping_during_set_up_keeps_nobody_out(
    handshake: str, threshold: int
) -> None:
    """SPEC 3-6: the repeated INITIATION comes from another port. Cap: one RESPONSE for each INITIATION."""
    awaited = Configuration(stream_window=70_000, retry_threshold=threshold)
    pair = Pair(left=Configuration(handshake=handshake), right=Configuration(retry_threshold=threshold))
    pair.right.expect(pair.left.identity.address, awaited)
    pair.connect()
    pair.run_until(lambda: pair.right.half_open > 0)
    pair.left_address = (LEFT[0], 77)  # what is on its way to the port of before is lost
    pair.run_until(lambda: pair.accepted is not None)
    expect_one_connection(pair, awaited)
    kinds = [datagram[0] for _, _, datagram in pair.wire]
    assert kinds.count(RESPONSE) + kinds.count(RETRY) == kinds.count(INITIATION)


def test_a_nat_that_forgets_its_mapping_before_completion_keeps_nobody_out() -> None:
    """SPEC 3-10: COMPLETION proves the same wherever it comes from. Cap: it moves nothing, DATA does."""
    pair = Pair(left=Configuration(handshake="xx"))
    pair.connect()
    pair.run_until(lambda: pair.connection.state is ConnectionState.ESTABLISHED)
    pair.flying.clear()  # COMPLETION and DATA behind it
    pair.left_address = (LEFT[0], 77)
    pair.run_until(lambda: pair.accepted is not None)
    pair.run_for(SECOND)
    expect_one_connection(pair, Configuration())


def test_a_copied_completion_moves_nothing() -> None:
    """SPEC 3-10: it confirms the handshake of the address that RESPONSE went to. Cap: no packet elsewhere."""
    pair = Pair(left=Configuration(handshake="xx"))
    pair.connect()
    pair.run_until(lambda: pair.connection.state is ConnectionState.ESTABLISHED)
    completion = next(datagram for _, _, datagram in pair.wire if datagram[0] == COMPLETION)
    pair.inject(completion, to_right=True, source=ELSEWHERE)
    assert pair.accepted is not None
    pair.run_for(SECOND)
    expect_one_connection(pair, Configuration())
    assert ELSEWHERE not in pair.destinations


def test_another_message_under_the_same_connection_id_keeps_nobody_out() -> None:
    """SPEC 3-6, 3-9: XX begins in clear, so it can be forged, UDP source and all. Cap: one answer each."""
    awaited = Configuration(stream_window=70_000)
    pair = Pair(left=Configuration(handshake="xx"))
    pair.right.expect(pair.left.identity.address, awaited)
    pair.connect()
    true = parse_setup(memoryview(pair.wire[0][2]))
    assert isinstance(true, SetupPacket)
    other_key = bytes(32 * [9]) + true.message[32:]
    for forged in (replace(true, message=other_key), replace(true, suite=true.suite | 0x10)):
        pair.inject(forged.encode(), to_right=True)
    pair.run_until(lambda: pair.accepted is not None)
    assert sum(datagram[0] == RESPONSE for _, _, datagram in pair.wire) == 3
    expect_one_connection(pair, awaited)


def test_copies_from_everywhere_are_as_few_as_any_half_open_connections() -> None:
    """SPEC 3-5, 3.4-1. Cap: ``retry_threshold`` handshakes; then 65 bytes for 1200, and nothing is kept."""
    pair = Pair(right=Configuration(retry_threshold=20))
    pair.connect()
    datagram = pair.wire[0][2]
    for number in range(300):
        pair.inject(datagram, to_right=True, source=("elsewhere", number))
    assert pair.right.half_open == 20
    assert [d[0] for _, _, d in pair.wire[1:]] == [RESPONSE] * 20 + [RETRY] * 280
    pair.run_until(lambda: pair.accepted is not None)  # with a cookie
    expect_one_connection(pair, Configuration(retry_threshold=20))


def test_what_was_awaited_outlives_an_initiation_of_before() -> None:
    """SPEC 3-9: replayed later it takes nothing for good. Cap: for as long as it is half-open."""
    pair = Pair()
    pair.established().close(now=pair.now)
    old = pair.wire[0][2]
    pair.drain()
    pair.run_for(60 * SECOND)
    awaited = Configuration(stream_window=70_000)
    for taken_back in (False, True):
        pair.right.expect(pair.left.identity.address, awaited)
        pair.inject(old, to_right=True, source=ELSEWHERE)
        assert pair.right.connections[0].configuration == awaited
        if taken_back:
            pair.right.expect_no_more(pair.left.identity.address, awaited)
        pair.run_for(60 * SECOND)
        pair.left_events.clear()
        pair.right_events.clear()
        pair.established()
        assert pair.accepted is not None
        assert (pair.accepted.configuration == awaited) is not taken_back
        pair.connection.close(now=pair.now)
        pair.drain()
        pair.run_for(60 * SECOND)


def test_a_full_house_of_half_open_connections_has_a_size() -> None:
    """SPEC 3-5. Cap: 64 KiB for each of at most 1024, whatever their INITIATIONs ask for."""
    pair = Pair(right=Configuration(retry_threshold=MAX_HALF_OPEN))
    greedy = Configuration(stream_window=1 << 40, connection_window=1 << 40, max_streams_bidi=1 << 16)
    flood = []
    for number in range(100):
        rng = Random(number)
        initiator = Initiator(Identity(rng.randbytes(32)), pair.peer, greedy, rng.randbytes(8), rng)
        flood.append(initiator.initiation())
    pair.inject(flood[0], to_right=True, source=("warm", 1))

    def attack() -> None:
        for number, datagram in enumerate(flood):
            pair.right.receive(Burst(("evil", number), memoryview(bytearray(datagram)), 1200), now=0)
            while pair.right.transmit(now=0) is not None:
                pass

    kept, _ = bytes_of(attack)
    assert len(pair.right.connections) >= 99
    assert kept / 100 < 64 * 1024


def test_a_handshake_message_that_fails_uses_no_nonce_twice() -> None:
    """SPEC 3.1-4: the copy that read a forged message is thrown away. Cap: no nonce is used up."""
    keys = [Random(name).randbytes(32) for name in "irxy"]
    ours, theirs = Identity(keys[0]), Identity(keys[1])

    def side(initiator: bool) -> Handshake:
        mine, other = (ours, theirs) if initiator else (theirs, ours)
        return Handshake(
            "Noise_IK_25519_AESGCM_SHA256", initiator=initiator, prologue=b"", static=mine.private_key,
            ephemeral=keys[2 if initiator else 3], remote_static=other.public_key if initiator else b"",
        )  # fmt: skip

    initiator, responder = side(True), side(False)
    first = initiator.write_message(b"ask")
    for position in range(len(first)):
        forged = bytearray(first)
        forged[position] ^= 1
        with pytest.raises(NoiseError):
            responder.copy().read_message(bytes(forged))
    assert responder.read_message(first) == b"ask"
    assert initiator.read_message(responder.write_message(b"answer")) == b"answer"
    assert initiator.hash == responder.hash


def test_packets_that_fail_to_open_cost_the_sender_no_number() -> None:
    """SPEC 4-1: forged packets between true ones leave numbers, and so nonces, alone. Cap: none is lost."""
    pair = Pair()
    connection = pair.established()
    stream = connection.open_stream()
    for number in range(50):
        connection.write(stream, bytes((number,)) * 10)
        pair.drain()
        true = next(d for _, from_left, d in reversed(pair.wire) if from_left)
        for position in (0, 3, 10, 15, -1):
            forged = bytearray(true)
            forged[position] ^= 1
            pair.inject(bytes(forged), to_right=True)
            pair.inject(bytes(forged), to_right=False)
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == 500)
    for side in (True, False):
        numbers = [d[9:13] for _, from_left, d in pair.wire if from_left is side and d[0] == 0x41]
        assert len(set(numbers)) == len(numbers)


def test_a_forked_copy_seals_nothing_of_its_connections() -> None:
    """SPEC 3-8: the child's connections are over; the parent goes on. Cap: no packet of the child's."""
    pair = Pair()
    pair.left = Endpoint(
        pair.left.identity, Configuration(), rng=Random(1), key_log=pair.key_log.append,
        sealed=SealedSettings(lambda address: None, 0, os.getpid),
    )  # fmt: skip
    connection = pair.established()
    stream = connection.open_stream()
    connection.write(stream, b"from both?", end=True)
    inbound, outbound = os.pipe()
    child = os.fork()
    if child == 0:  # nothing of pytest's may run here twice
        sent = []
        while (transmit := pair.left.transmit(now=pair.now)) is not None:
            sent.append(bytes(transmit.buffer))
        told = pair.left.next_event()
        ended = told is not None and isinstance(told[1], ConnectionClosed) and told[0].closed
        os.write(outbound, b"silent" if not sent and ended and not pair.left.connections else b"spoke")
        os._exit(0)
    os.close(outbound)
    with open(inbound, "rb") as pipe:
        assert pipe.read() == b"silent"
    os.waitpid(child, 0)
    pair.drain()
    pair.run_until(lambda: StreamDataReceived(stream, ended=True) in pair.right_events)


def test_keys_of_the_key_log_open_what_was_sent_and_not_what_another_sent() -> None:
    """SPEC 3.1-2: each direction and each connection has keys of its own. Cap: none is shared."""
    pair = Pair()
    pair.established()
    pair.run_for(SECOND)
    first = pair.key_log[0].split()
    other = Pair(seed=2)
    other.established()
    second = other.key_log[0].split()
    assert len({first[4], first[5], second[4], second[5]}) == 4
    sent = next(d for _, from_left, d in pair.wire if from_left and d[0] == 0x41)
    nonce = sent[9:13].rjust(12, b"\0")
    assert AESGCM(bytes.fromhex(first[4])).decrypt(nonce, sent[13:], sent[:13])
