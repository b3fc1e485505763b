"""Who lies in the handshake gets nothing: no other profile, no other node, no other connection (SPEC 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from node.protocol.configuration import Configuration
from node.protocol.errors import ErrorCode
from node.protocol.events import ConnectionEstablished
from node.protocol.identity import Identity
from node.protocol.noise import Handshake
from node.protocol.suites import Suite
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.packet_number import MAX_PACKET_NUMBER
from node.protocol.wire.parameters import TransportParameters, parse_parameters
from node.protocol.wire.setup import INITIATION, RESPONSE, VERSION, SetupPacket, parse_setup
from tests.support.pair import Pair

SEED = 1
#: The identity that ``Pair`` gives its right end.
RESPONDER = Identity(Random(f"{SEED}/right").randbytes(32))
OURS = b"\x01" * 8
SUITE = Suite("ik", "aes-gcm")

Change = Callable[[TransportParameters], TransportParameters]


def prologue(target: int, source: int, connection_id: bytes) -> bytes:
    head = VERSION.to_bytes(4, "big") + bytes((SUITE.code,))
    return b"Strait" + head + target.to_bytes(8, "big") + source.to_bytes(8, "big") + connection_id


def response_to(datagram: bytes, change: Change, *, source: int | None = None) -> bytes:
    """The RESPONSE of a responder that has the right key and says what ``change`` makes of it."""
    packet = parse_setup(memoryview(datagram))
    assert isinstance(packet, SetupPacket)
    noise = Handshake(
        SUITE.protocol_name,
        initiator=False,
        prologue=prologue(packet.target_address, packet.source_address, packet.source_connection_id),
        static=RESPONDER.private_key,
        ephemeral=Random(9).randbytes(32),
    )
    asked = parse_parameters(noise.read_message(packet.message))
    message = noise.write_message(change(replace(asked, connection_id=OURS)).encode())
    address = packet.target_address if source is None else source
    return SetupPacket(
        RESPONSE, SUITE.code, packet.source_address, address, packet.source_connection_id, OURS, 0, message
    ).encode()


def connecting() -> Pair:
    pair = Pair(to_right=lambda datagram, rng: [], seed=SEED)
    pair.connect()
    return pair


def test_an_honest_response_is_taken() -> None:
    pair = connecting()
    pair.inject(response_to(pair.wire[0][2], lambda parameters: parameters), to_right=False)
    assert pair.left_events == [ConnectionEstablished(RESPONDER.address, initiator=True)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: replace(p, integrity="xor"), "RESPONSE changes the profile"),
        (lambda p: replace(p, arq="stop-and-wait"), "RESPONSE changes the profile"),
        # SPEC 12-2, 12-3: nothing was asked for.
        (lambda p: replace(p, fec="xor", fec_arq="never"), "RESPONSE changes the FEC scheme"),
        (
            lambda p: replace(p, fec="xor", arq="stop-and-wait"),
            "bad transport parameter: fec with stop-and-wait",
        ),
        (
            lambda p: replace(p, connection_id=b"\x02" * 8),
            "RESPONSE with another connection ID than it proves",
        ),
        (lambda p: replace(p, max_datagram_size=1199), "bad transport parameter: max_datagram_size"),
        (
            lambda p: replace(p, max_ack_delay=(1 << 14) * MILLISECOND),
            "bad transport parameter: max_ack_delay",
        ),
    ],
)
def test_a_response_that_says_otherwise_is_dropped(change: Change, reason: str) -> None:
    """SPEC 3.2-1."""
    pair = connecting()
    pair.inject(response_to(pair.wire[0][2], change), to_right=False)
    assert pair.left_events == []
    assert pair.left.drops.counts == {reason: 1}
    pair.inject(response_to(pair.wire[0][2], lambda parameters: parameters), to_right=False)
    assert pair.left_events == [ConnectionEstablished(RESPONDER.address, initiator=True)]


def test_a_response_in_the_name_of_another_node_is_dropped() -> None:
    pair = connecting()
    forged = response_to(pair.wire[0][2], lambda parameters: parameters, source=5)
    pair.inject(forged, to_right=False)
    assert pair.left.drops.counts == {"RESPONSE from another node": 1}


def test_a_response_to_nothing_is_dropped() -> None:
    pair = connecting()
    response = response_to(pair.wire[0][2], lambda parameters: parameters)
    pair.inject(response, to_right=False)
    pair.inject(response, to_right=False)  # a repeated one
    other = Pair(seed=2)
    packet = parse_setup(memoryview(response))
    assert isinstance(packet, SetupPacket)
    other.inject(replace(packet, target_address=other.left.identity.address).encode(), to_right=False)
    assert other.left.drops.counts == {"unknown connection ID": 1}


def initiation(*, claimed: int | None = None, connection_id: bytes = OURS) -> bytes:
    """An INITIATION to the responder; ``claimed``: another source address than the key proves."""
    identity, rng = Identity(Random(77).randbytes(32)), Random(78)
    source = identity.address if claimed is None else claimed
    noise = Handshake(
        SUITE.protocol_name,
        initiator=True,
        prologue=prologue(RESPONDER.address, source, OURS),
        static=identity.private_key,
        ephemeral=rng.randbytes(32),
        remote_static=RESPONDER.public_key,
    )
    message = noise.write_message(TransportParameters.of(Configuration(), connection_id).encode())
    return SetupPacket(INITIATION, SUITE.code, RESPONDER.address, source, bytes(8), OURS, 0, message).encode()


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (initiation(claimed=5), "source address is not that of the proven key"),
        (initiation(connection_id=b"\x02" * 8), "INITIATION with another connection ID than it proves"),
    ],
)
def test_an_initiation_that_proves_something_else_is_dropped(datagram: bytes, reason: str) -> None:
    """SPEC 3.1-1."""
    pair = Pair(seed=SEED)
    pair.inject(datagram, to_right=True)
    assert pair.right.connections == ()
    assert pair.right.drops.counts == {reason: 1}
    assert pair.wire == []


def test_a_repeated_initiation_gets_one_response_each_and_only_where_it_came_from() -> None:
    """SPEC 3-3, 3-6: from each source they are repetitions of one handshake, with keys of its own."""
    pair = Pair(seed=SEED, to_left=lambda datagram, rng: [])
    there, elsewhere = ("there", 1), ("elsewhere", 2)
    for source in (there, there, elsewhere, there, elsewhere):
        pair.inject(initiation(), to_right=True, source=source)
    assert pair.destinations == [there, there, elsewhere, there, elsewhere]
    responses = [parse_setup(memoryview(datagram)) for _, _, datagram in pair.wire]
    found = [(r.source_connection_id, r.packet_number) for r in responses if isinstance(r, SetupPacket)]
    one, other = found[0][0], found[2][0]
    assert found == [(one, 0), (one, 1), (other, 0), (one, 2), (other, 1)]
    messages = {r.message for r in responses if isinstance(r, SetupPacket)}
    assert len(pair.right.connections) == len(messages) == 2


def test_initiations_are_repeated_after_one_two_and_then_every_three_seconds() -> None:
    """SPEC 3-3."""
    pair = Pair(left=Configuration(handshake_timeout=20 * SECOND), to_right=lambda datagram, rng: [])
    pair.connect()
    pair.run_for(20 * SECOND)
    times = [round(time / SECOND) for time, _, _ in pair.wire]
    assert times == [0, 1, 3, 6, 9, 12, 15, 18]


def test_a_connection_that_runs_out_of_packet_numbers_closes() -> None:
    """SPEC 4-3: 2^62 cannot be waited for, so the counter is set forward."""
    pair = Pair()
    connection = pair.established()
    pair.run_for(SECOND)
    connection.recovery.next_packet_number = MAX_PACKET_NUMBER - 100
    connection.write(connection.open_stream(), b"x")
    pair.drain()
    closed = pair.closed(right=False)
    assert closed is not None
    assert closed.code == ErrorCode.PACKET_NUMBERS_EXHAUSTED
