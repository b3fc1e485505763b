"""Every suite opens a connection; nobody on the way can choose another (SPEC 3.1, 3.2-1, 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from node.protocol.configuration import Configuration
from node.protocol.endpoint import Endpoint
from node.protocol.errors import ErrorCode, LocalProtocolError
from node.protocol.events import ConnectionClosed, ConnectionEstablished
from node.protocol.identity import Peer, address_of
from node.protocol.suites import SUITES, Suite
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.crc32c import crc32c
from node.protocol.wire.packet_number import MAX_PACKET_NUMBER
from node.protocol.wire.protection import AeadProtection
from node.protocol.wire.setup import COMPLETION, INITIATION, RESPONSE, SetupPacket, parse_setup
from tests.support.pair import RIGHT, Pair, hostile, perfect

SECRET = "5a" * 32
ALL = list(SUITES.values())
NAMES = [suite.name for suite in ALL]


def configuration(suite: Suite, **settings: object) -> Configuration:
    chosen: dict[str, object] = {
        "handshake": suite.handshake,
        "cipher": suite.cipher,
        "post_quantum": suite.post_quantum,
        "pre_shared_key": SECRET,
        **settings,
    }
    return Configuration(**chosen)  # type: ignore[arg-type]


def pair_of(suite: Suite, **settings: object) -> Pair:
    return Pair(left=configuration(suite), right=Configuration(pre_shared_key=SECRET), **settings)  # type: ignore[arg-type]


def kinds(pair: Pair, *, from_left: bool) -> list[int]:
    return [datagram[0] for _, left, datagram in pair.wire if left is from_left]


@pytest.mark.parametrize("suite", ALL, ids=NAMES)
def test_data_flows_both_ways_in_every_suite(suite: Suite) -> None:
    """SPEC 3.3-5: the cipher of DATA is the suite's (the wire vectors hold its bytes)."""
    pair = pair_of(suite)
    connection = pair.established()
    stream = connection.open_stream()
    connection.write(stream, b"question" * 5000, end=True)
    pair.drain()
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == 40_000)
    assert pair.accepted is not None
    pair.accepted.write(stream, b"answer" * 5000, end=True)
    pair.drain()
    pair.run_until(lambda: len(pair.left_data.get(stream, b"")) == 30_000)
    assert ConnectionEstablished(pair.left.identity.address, initiator=False) in pair.right_events
    for endpoint in (pair.left, pair.right):
        assert endpoint.drops.counts == {}
    for kind in (INITIATION, RESPONSE):
        sizes = {len(datagram) for _, _, datagram in pair.wire if datagram[0] == kind}
        assert sizes == {suite.packet_bytes}
    assert (COMPLETION in kinds(pair, from_left=True)) is suite.has_three_messages


@pytest.mark.parametrize("suite", ALL, ids=NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_every_suite_opens_through_loss_doubling_and_overtaking(suite: Suite, seed: int) -> None:
    pair = pair_of(suite, to_right=hostile(loss=0.3, duplicate=0.3, reorder=0.5, corrupt=0.05), seed=seed)
    connection = pair.established()
    stream = connection.open_stream(unidirectional=True)
    connection.write(stream, b"x" * 3000, end=True)
    pair.drain()
    pair.run_until(lambda: pair.right_data.get(stream, b"") == b"x" * 3000)


@pytest.mark.parametrize(
    ("cipher", "sealed", "forged"), [("aes-gcm", 1 << 23, 1 << 52), ("chacha20-poly1305", None, 1 << 36)]
)
def test_each_cipher_changes_its_keys_and_has_its_limits(
    cipher: str, sealed: int | None, forged: int
) -> None:
    """SPEC 4.2-2, 4.2-8: ChaCha20-Poly1305 seals what there are numbers for, and bears fewer forgeries."""
    suite = Suite("xx", cipher)
    pair = pair_of(suite)
    connection = pair.established(configuration(suite, key_update_packets=20))
    stream = connection.open_stream(unidirectional=True)
    connection.write(stream, bytes(300_000), end=True)
    pair.drain()
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == 300_000)
    assert connection.statistics().key_updates >= 3
    protection = connection.protection
    assert isinstance(protection, AeadProtection)
    if sealed is None:
        assert protection.confidentiality_limit > MAX_PACKET_NUMBER
    else:
        assert protection.confidentiality_limit == sealed
    assert protection.integrity_limit == forged


@pytest.mark.parametrize("profile", ["crc32c", "xor"])
def test_checksum_profiles_are_negotiated_under_any_suite(profile: str) -> None:
    pair = Pair(left=configuration(Suite("xx", "chacha20-poly1305"), integrity=profile))
    pair.established()
    assert profile in pair.key_log[0].split()


def test_a_responder_drops_a_suite_that_it_does_not_list() -> None:
    """SPEC 3.2-1."""
    right = Configuration(accepted_suites=("ik/aes-gcm",))
    pair = Pair(left=configuration(Suite("ik", "chacha20-poly1305")), right=right)
    pair.connect()
    pair.run_until(lambda: pair.closed(right=False) is not None)
    assert set(pair.right.drops.counts) == {"suite not accepted"}
    assert kinds(pair, from_left=False) == []


def test_a_responder_without_the_secret_drops_what_asks_for_it() -> None:
    """SPEC 3.3-6."""
    pair = Pair(left=configuration(Suite("ik-psk2", "aes-gcm")))
    pair.connect()
    pair.run_until(lambda: pair.closed(right=False) is not None)
    assert set(pair.right.drops.counts) == {"no pre-shared key here"}


def test_another_secret_opens_nothing() -> None:
    right = Configuration(pre_shared_key="5b" * 32)
    pair = Pair(left=configuration(Suite("ik-psk2", "aes-gcm")), right=right)
    pair.connect()
    pair.run_until(lambda: pair.closed(right=False) is not None)
    assert set(pair.left.drops.counts) == {"message does not authenticate"}
    assert pair.right_events == []


def changed(datagram: bytes, position: int, value: int) -> bytes:
    """A set-up packet with one byte changed and a CRC that fits."""
    body = bytearray(datagram[:-4])
    body[position] = value
    return bytes(body) + crc32c(bytes(body)).to_bytes(4, "big")


def resized(datagram: bytes, suite: int) -> bytes:
    """A set-up packet of another suite, padded or cut as that asks for."""
    body = bytearray(datagram[:-4])
    body[5] = suite
    size = SUITES[suite].packet_bytes - 4
    whole = bytes(body).ljust(size, b"\0")[:size]
    return whole + crc32c(whole).to_bytes(4, "big")


def under_attack(suite: Suite, attack: Callable[[bytes], bytes], kind: int) -> Pair:
    """Let everything through but for one kind of packet, which the attacker changes."""
    pair = pair_of(suite, to_right=perfect(), to_left=perfect())
    original = pair._launch

    def launch(datagram: bytearray, from_left: bool) -> None:
        original(bytearray(attack(bytes(datagram))) if datagram[0] == kind else datagram, from_left)

    pair._launch = launch  # type: ignore[method-assign]
    pair.connect()
    pair.run_until(lambda: pair.closed(right=False) is not None)
    return pair


@pytest.mark.parametrize("kind", [INITIATION, RESPONSE])
@pytest.mark.parametrize("other", ALL, ids=NAMES)
@pytest.mark.parametrize("suite", [SUITES[0x01], SUITES[0x13], SUITES[0x82]], ids=lambda suite: suite.name)
def test_a_suite_changed_on_the_way_opens_nothing(suite: Suite, other: Suite, kind: int) -> None:
    """SPEC 3.3-2: no downgrade, whatever the attacker writes in its place."""
    if other == suite:
        return
    pair = under_attack(suite, lambda datagram: resized(datagram, other.code), kind)
    assert pair.left_events == [
        ConnectionClosed(ErrorCode.HANDSHAKE_TIMEOUT, "the peer did not answer the handshake", remote=False)
    ]
    assert pair.right_events == []


#: Where what an attacker may want to change is in an INITIATION of XX, whose payload is in clear: behind 45
#: bytes of header and 32 of e come parameters 1 (10 bytes), integrity (02 01 xx) and arq (03 01 xx).
_PAYLOAD = 45 + 32
FIELDS = {
    "version": (4, 0x02),
    "target address": (13, 0xFF),
    "source address": (21, 0xFF),
    "source connection ID": (37, 0xFF),
    "integrity": (_PAYLOAD + 10 + 2, 2),
    "arq": (_PAYLOAD + 13 + 2, 2),
    "initial_max_data": (_PAYLOAD + 16 + 3, 0xFF),
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("handshake", ["ik", "xx"])
def test_a_field_changed_on_the_way_opens_nothing(handshake: str, field: str) -> None:
    """SPEC 3.1, 3.2-1: in XX the responder sees clear text that was changed; no key comes of it."""
    position, value = FIELDS[field]
    pair = under_attack(Suite(handshake, "aes-gcm"), lambda d: changed(d, position, value), INITIATION)
    assert [type(event) for event in pair.left_events] == [ConnectionClosed]
    assert pair.right_events == []


@pytest.mark.parametrize("position", [45, 45 + 31, 45 + 32, 45 + 47, 45 + 48, 45 + 63])
def test_a_changed_completion_confirms_nothing_and_spoils_nothing(position: int) -> None:
    """SPEC 3.1-4, 3-10: the true one is taken after a forged one, and wherever it comes from."""
    pair = pair_of(Suite("xx", "aes-gcm"))
    pair.to_right = lambda datagram, rng: [] if datagram[0] in (COMPLETION, 0x41) else [5 * MILLISECOND]
    pair.connect()
    pair.run_until(lambda: COMPLETION in kinds(pair, from_left=True))
    true = next(datagram for _, _, datagram in pair.wire if datagram[0] == COMPLETION)
    pair.inject(changed(true, position, true[position] ^ 1), to_right=True)
    assert pair.right_events == []
    assert list(pair.right.drops.counts) in (["message does not authenticate"], ["unusable public key"])
    pair.inject(true, to_right=True, source=("elsewhere", 9))
    assert pair.right_events == [ConnectionEstablished(pair.left.identity.address, initiator=False)]
    assert all(destination != ("elsewhere", 9) for destination in pair.destinations)


def test_completion_is_repeated_until_the_responder_is_heard() -> None:
    """SPEC 3-7, 3.1-5."""
    pair = pair_of(Suite("xx", "aes-gcm"))
    pair.to_right = lambda datagram, rng: (
        [] if pair.now < SECOND and datagram[0] == COMPLETION else [5 * MILLISECOND]
    )
    pair.established()
    sent = [(at, datagram) for at, left, datagram in pair.wire if left and datagram[0] == COMPLETION]
    assert len(sent) >= 4
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(sent)]
    assert all(later == min(2 * earlier, 3 * SECOND) for earlier, later in pairwise(gaps))
    parsed = [parse_setup(memoryview(datagram)) for _, datagram in sent]
    assert len({p.packet_number for p in parsed if isinstance(p, SetupPacket)}) == len(sent)
    assert len({replace(p, packet_number=0) for p in parsed if isinstance(p, SetupPacket)}) == 1
    pair.run_for(60 * SECOND)
    assert kinds(pair, from_left=True).count(COMPLETION) == len(sent)
    assert kinds(pair, from_left=False).count(RESPONSE) == kinds(pair, from_left=True).count(INITIATION)


def test_data_before_completion_is_dropped_and_comes_again() -> None:
    """SPEC 3.1-5: the responder has no keys yet."""
    pair = pair_of(Suite("xx", "aes-gcm"))
    pair.to_right = lambda datagram, rng: [50 * MILLISECOND if datagram[0] == COMPLETION else 5 * MILLISECOND]
    connection = pair.established()
    assert pair.right.drops.counts == {"DATA before the handshake was through": 1}
    stream = connection.open_stream(unidirectional=True)
    connection.write(stream, b"all", end=True)
    pair.drain()
    pair.run_until(lambda: pair.right_data.get(stream, b"") == b"all")


def test_xx_asks_for_a_key_and_checks_its_address() -> None:
    """SPEC 3.1-1: who knows the address alone still reaches its owner and nobody else."""
    pair = pair_of(Suite("xx", "aes-gcm"))
    pair.peer = Peer(b"", RIGHT, known_address=pair.right.identity.address)
    pair.established()
    pair = pair_of(Suite("xx", "aes-gcm"))
    other = address_of(b"\7" * 32)
    pair.peer = Peer(b"", RIGHT, known_address=other)
    pair.right.identity = replace(pair.right.identity)
    object.__setattr__(pair.right.identity, "address", other)  # a node that lies about its address
    pair.connect()
    pair.run_until(lambda: pair.closed(right=False) is not None)
    assert set(pair.left.drops.counts) == {"source address is not that of the proven key"}


def test_an_initiator_that_lies_about_its_address_is_not_taken_in_xx() -> None:
    pair = pair_of(Suite("xx", "aes-gcm"))
    object.__setattr__(pair.left.identity, "address", 5)
    pair.connect()
    pair.run_for(2 * SECOND)
    assert set(pair.right.drops.counts) >= {"source address is not that of the proven key"}
    assert pair.right_events == []


def test_ik_needs_the_peers_key() -> None:
    pair = Pair()
    with pytest.raises(LocalProtocolError, match="ik needs the peer's key, use xx without"):
        pair.left.connect(Peer(b"", RIGHT, known_address=5), now=0)
    assert pair.left.connections == ()


def test_a_configuration_awaited_from_a_peer_outlives_false_claims_of_its_address() -> None:
    """SPEC 3.1-6: in XX the source address is a claim until COMPLETION."""
    awaited = Configuration(stream_window=70_000)
    pair = pair_of(Suite("xx", "aes-gcm"))
    pair.right.expect(pair.left.identity.address, awaited)
    liar = Endpoint(pair.left.identity, configuration(Suite("xx", "aes-gcm")), rng=Random(5))
    liar.connect(pair.peer, now=pair.now)
    transmit = liar.transmit(now=pair.now)
    assert transmit is not None
    pair.inject(bytes(transmit.buffer), to_right=True, source=("liar", 1))
    pair.run_for(120 * SECOND)
    assert pair.right.connections == ()
    pair.established()
    assert pair.accepted is not None
    assert pair.accepted.configuration == awaited


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"handshake": "nn"}, "handshake: found 'nn', use one of ik, xx, ik-psk2"),
        ({"cipher": "rc4"}, "cipher: found 'rc4', use one of aes-gcm, chacha20-poly1305"),
        ({"accepted_suites": ("ik",)}, "accepted_suites: found 'ik', use one of ik/aes-gcm, "),
        ({"handshake": "ik-psk2"}, "handshake: ik-psk2 needs a pre_shared_key, 64 hexadecimal digits"),
        ({"pre_shared_key": "secret"}, "pre_shared_key: must be 64 hexadecimal digits"),
        (
            {"post_quantum": True, "max_datagram_size": 1451},
            "max_datagram_size with post_quantum: found 1451",
        ),
    ],
)
def test_a_suite_that_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        Configuration(**settings)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_a_secret_is_never_shown() -> None:
    assert SECRET not in repr(Configuration(pre_shared_key=SECRET))
    with pytest.raises(LocalProtocolError) as caught:
        Configuration(pre_shared_key=SECRET + "0")
    assert SECRET not in str(caught.value)
