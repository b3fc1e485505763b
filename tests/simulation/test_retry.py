"""A flood of INITIATIONs costs a responder next to nothing, an honest initiator one round trip (SPEC 3.4)."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from node.protocol import noise
from node.protocol.configuration import Configuration
from node.protocol.cookies import SECRET_LIFETIME
from node.protocol.datagrams import Burst
from node.protocol.events import ConnectionClosed, ConnectionEstablished
from node.protocol.handshake import MAX_RETRIES, Initiator
from node.protocol.identity import Identity
from node.protocol.setting_up import MAX_REPLIES
from node.protocol.suites import SUITES, Suite
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.setup import INITIATION, RESPONSE, RETRY, RETRY_BYTES, SetupPacket, parse_setup
from tests.attacks.caps import calls_of
from tests.support.pair import LEFT, Pair, hostile

ALWAYS = Configuration(retry_threshold=0, pre_shared_key="5a" * 32)


class Exchanges:
    """Counts key exchanges."""

    count = 0


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> Exchanges:
    counter, exchange = Exchanges(), noise._diffie_hellman

    def counted(private: bytes, public: bytes) -> bytes:
        counter.count += 1
        return exchange(private, public)

    monkeypatch.setattr(noise, "_diffie_hellman", counted)
    return counter


def initiation(pair: Pair, number: int, configuration: Configuration | None = None) -> bytes:
    rng = Random(f"flood {number}")
    identity = Identity(rng.randbytes(32))
    return Initiator(
        identity, pair.peer, configuration or Configuration(), rng.randbytes(8), rng
    ).initiation()


def parsed(datagram: bytes) -> SetupPacket:
    packet = parse_setup(memoryview(datagram))
    assert isinstance(packet, SetupPacket)
    return packet


def kinds(pair: Pair) -> list[tuple[bool, int]]:
    return [(from_left, datagram[0]) for _, from_left, datagram in pair.wire]


@pytest.mark.parametrize("suite", SUITES.values(), ids=[suite.name for suite in SUITES.values()])
def test_an_honest_initiator_brings_the_cookie_back(suite: Suite) -> None:
    """SPEC 3.4-1, 3.4-4: one round trip more, in every suite."""
    left = Configuration(
        handshake=suite.handshake,
        cipher=suite.cipher,
        post_quantum=suite.post_quantum,
        pre_shared_key="5a" * 32,
    )
    pair = Pair(left=left, right=ALWAYS)
    pair.established()
    assert kinds(pair)[:4] == [(True, INITIATION), (False, RETRY), (True, INITIATION), (False, RESPONSE)]
    first, retry, second = (parsed(datagram) for _, _, datagram in pair.wire[:3])
    assert second == replace(first, packet_number=1, cookie=retry.cookie)
    assert (retry.packet_number, retry.source_connection_id, retry.message) == (0, bytes(8), b"")
    assert pair.left.connections[0].statistics().min_rtt == 10 * MILLISECOND  # the second's


@pytest.mark.parametrize("seed", range(5))
def test_cookies_survive_loss_and_overtaking(seed: int) -> None:
    pair = Pair(right=ALWAYS, to_right=hostile(loss=0.3, duplicate=0.3, reorder=0.5), seed=seed)
    pair.established()


def test_the_threshold_is_where_cookies_begin() -> None:
    """SPEC 3.4-1: both sides of the boundary."""
    pair = Pair(right=Configuration(retry_threshold=3))
    for number in range(4):
        pair.inject(initiation(pair, number), to_right=True, source=("evil", number))
    assert [kind for _, kind in kinds(pair)] == [RESPONSE] * 3 + [RETRY]
    assert len(pair.right.connections) == 3


def test_a_flood_costs_no_key_exchange_no_memory_and_little_time(exchanges: Exchanges) -> None:
    """SPEC 3.4-1, 3.4-5. Caps: no X25519, nothing kept, 150 calls a packet with all of its answer."""
    pair = Pair(right=ALWAYS)
    flood = [initiation(pair, number) for number in range(200)]
    pair.inject(initiation(pair, -1), to_right=True)  # the secret is made
    pair.wire.clear()
    exchanges.count = 0

    def attack() -> None:
        for _ in range(5):
            for number, datagram in enumerate(flood):
                pair.inject(datagram, to_right=True, source=("evil", number))

    assert calls_of(attack) < 150 * 1000
    assert exchanges.count == 0
    assert pair.right.connections == ()
    assert pair.right.half_open == 0
    assert pair.right.drops.counts == {"INITIATION without a cookie that verifies": 1001}
    assert {len(datagram) for _, _, datagram in pair.wire} == {RETRY_BYTES}
    assert len(pair.wire) == 1000


def test_answers_are_bounded_within_one_burst() -> None:
    """Whatever comes in one burst, at most ``MAX_REPLIES`` answers wait."""
    pair = Pair(right=ALWAYS)
    datagram = initiation(pair, 1)
    for _ in range(MAX_REPLIES + 50):
        pair.right.receive(Burst(LEFT, memoryview(bytearray(datagram)), len(datagram)), now=0)
    pair.drain()
    assert len(pair.wire) == MAX_REPLIES


def test_set_up_never_sends_three_times_what_it_received() -> None:
    """SPEC 3-3, 3.4-1: byte for byte, against whoever forges INITIATIONs in another's name."""
    for right in (Configuration(pre_shared_key="5a" * 32), ALWAYS):
        for suite in SUITES.values():
            left = Configuration(
                handshake=suite.handshake, post_quantum=suite.post_quantum, pre_shared_key="5a" * 32
            )
            pair = Pair(right=right)
            datagram = initiation(pair, 1, left)
            for _ in range(3):
                pair.inject(datagram, to_right=True, source=("victim", 1))
            pair.run_for(100 * SECOND)
            assert sum(len(sent) for _, _, sent in pair.wire) <= 3 * len(datagram)


@pytest.mark.parametrize("late", [0, 2 * SECRET_LIFETIME])
def test_a_cookie_from_elsewhere_or_from_long_ago_opens_nothing(late: int, exchanges: Exchanges) -> None:
    """SPEC 3.4-2, 3.4-3: who replays it is asked again, and nothing is kept."""
    pair = Pair(right=ALWAYS)
    datagram = initiation(pair, 1)
    pair.inject(datagram, to_right=True)
    asked = replace(parsed(datagram), cookie=parsed(pair.wire[0][2]).cookie, packet_number=1).encode()
    exchanges.count = 0
    pair.now += late
    pair.inject(asked, to_right=True, source=LEFT if late else ("elsewhere", 1))
    assert [kind for _, kind in kinds(pair)] == [RETRY, RETRY]
    assert (exchanges.count, pair.right.connections) == (0, ())


def test_a_cookie_is_looked_at_without_load_as_well() -> None:
    """SPEC 3.4-1: one that was changed on the way is never passed over."""
    pair = Pair()
    asked = replace(parsed(initiation(pair, 1)), cookie=bytes(16)).encode()
    pair.inject(asked, to_right=True)
    assert [kind for _, kind in kinds(pair)] == [RETRY]
    assert pair.right.connections == ()


def test_an_attacker_that_changes_every_cookie_opens_nothing() -> None:
    pair = Pair(right=ALWAYS)
    launch = pair._launch

    def change(datagram: bytearray, from_left: bool) -> None:
        packet = parse_setup(memoryview(datagram))
        if isinstance(packet, SetupPacket) and packet.cookie and from_left:
            datagram = bytearray(replace(packet, cookie=bytes(16)).encode())
        launch(datagram, from_left)

    pair._launch = change  # type: ignore[method-assign]
    pair.connect()
    pair.run_until(lambda: pair.closed(right=False) is not None)
    assert [type(event) for event in pair.left_events] == [ConnectionClosed]
    assert pair.right.connections == ()
    sent = [kind for from_left, kind in kinds(pair) if from_left]
    assert len(sent) <= MAX_RETRIES + 8  # three at once, the others by their time-out


# RETRYs that lie


def forged(pair: Pair, **changes: object) -> bytes:
    asked = parsed(pair.wire[0][2])
    honest = SetupPacket(
        RETRY, asked.suite, asked.source_address, asked.target_address, asked.source_connection_id,
        bytes(8), 0, b"", b"\x11" * 16,
    )  # fmt: skip
    return replace(honest, **changes).encode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"target_connection_id": b"guessed!"}, "unknown connection ID"),
        ({"source_address": 5}, "RETRY to another INITIATION"),
        ({"suite": 0x11}, "RETRY to another INITIATION"),
        ({"packet_number": 1}, "RETRY to another INITIATION"),
        ({"target_address": 5}, "for another node"),
    ],
)
def test_a_retry_that_answers_nothing_is_dropped(changes: dict[str, object], reason: str) -> None:
    """SPEC 3.4-4: who cannot see the connection ID cannot forge one."""
    pair = Pair(to_right=lambda datagram, rng: [])
    pair.connect()
    pair.inject(forged(pair, **changes), to_right=False)
    assert pair.left.drops.counts == {reason: 1}
    assert len(pair.wire) == 1


def test_a_retry_without_a_cookie_is_dropped() -> None:
    pair = Pair(to_right=lambda datagram, rng: [])
    pair.connect()
    short = parsed(forged(pair))
    body = bytearray(replace(short, cookie=b"").encode())
    pair.inject(bytes(body), to_right=False)
    assert pair.left.drops.counts == {"RETRY without a cookie": 1}


def test_a_forged_retry_on_the_way_only_delays() -> None:
    """SPEC 3.4-4: the responder asks for a true cookie, and the initiator brings it."""
    pair = Pair()
    pair.to_right = lambda datagram, rng: [5 * MILLISECOND]
    pair.connect()
    pair.inject(forged(pair), to_right=False)
    pair.run_until(lambda: any(isinstance(event, ConnectionEstablished) for event in pair.right_events))
    assert pair.now < 100 * MILLISECOND


def test_an_initiator_takes_three_retries_and_no_more() -> None:
    """SPEC 3.4-4: each must answer what was sent since the last, so a repeated one is nothing either."""
    pair = Pair(to_right=lambda datagram, rng: [])
    pair.connect()
    for number in range(MAX_RETRIES):
        for _ in range(2):
            pair.inject(forged(pair, packet_number=number, cookie=bytes((number,)) * 16), to_right=False)
    assert [parsed(d).cookie[:1] for _, _, d in pair.wire] == [b"", b"\0", b"\1", b"\2"]
    pair.inject(forged(pair, packet_number=MAX_RETRIES), to_right=False)
    assert pair.left.drops.counts == {
        "RETRY to another INITIATION": MAX_RETRIES,
        "one RETRY too many": 1,
    }
    assert len(pair.wire) == 1 + MAX_RETRIES


def test_a_retry_after_the_response_changes_nothing() -> None:
    pair = Pair()
    pair.established()
    sent = len(pair.wire)
    pair.inject(forged(pair), to_right=False)
    assert len(pair.wire) == sent
