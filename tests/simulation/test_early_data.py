"""Early data: one round trip less for who comes back, once for each ticket, and never lost (SPEC 15)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from node.protocol.configuration import ARQ_CODES, FEC_CODES, Configuration
from node.protocol.congestion.base import CONTROLLERS
from node.protocol.connection import Connection
from node.protocol.datagrams import Burst, SocketAddress
from node.protocol.early_data import MAX_EARLY_BYTES
from node.protocol.endpoint import Endpoint
from node.protocol.errors import ErrorCode, LocalProtocolError
from node.protocol.events import (
    ConnectionClosed,
    ConnectionEstablished,
    MessageReceived,
    StreamDataReceived,
    StreamOpened,
)
from node.protocol.identity import Identity
from node.protocol.suites import CIPHER_CODES
from node.protocol.tickets import TICKET_LIFETIME
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.data import EARLY
from node.protocol.wire.frames import Ack, NewTicket, Stream, parse_frames
from node.protocol.wire.setup import INITIATION, RETRY
from tests.support.forge import Forger
from tests.support.pair import LEFT, Pair, hostile

EARLY_DATA = Configuration(early_data=True)
DELAY = 5 * MILLISECOND


def acquainted(
    *, left: Configuration = EARLY_DATA, right: Configuration = EARLY_DATA, **settings: object
) -> Pair:
    """A pair whose left end has a ticket of the right one, and no connection any more."""
    pair = Pair(left=left, right=right, **settings)  # type: ignore[arg-type]
    connection = pair.established()
    pair.run_for(SECOND)
    connection.close(now=pair.now)
    pair.drain()
    pair.run_for(60 * SECOND)
    assert pair.left.connections == pair.right.connections == ()
    pair.wire.clear()
    pair.destinations.clear()
    pair.left_events.clear()
    pair.right_events.clear()
    pair.right_data.clear()
    return pair


def ask(
    pair: Pair, data: bytes = b"early", configuration: Configuration | None = None
) -> tuple[Connection, int]:
    """Connect and write at once, before anything has come back."""
    connection = pair.connection = pair.left.connect(pair.peer, configuration=configuration, now=pair.now)
    stream = connection.open_stream()
    connection.write(stream, data, end=True)
    pair.drain()
    return connection, stream


def kinds(pair: Pair, *, from_left: bool = True) -> list[int]:
    return [datagram[0] for _, left, datagram in pair.wire if left is from_left]


def test_early_data_arrives_with_the_first_flight_and_says_so() -> None:
    """SPEC 15-3, 15-4, 15-6."""
    pair = acquainted()
    began = pair.now
    _, stream = ask(pair)
    assert kinds(pair) == [INITIATION, EARLY]
    assert pair.key_log[-1].split()[:3] == ["STRAIT_EARLY", pair.wire[1][2][1:9].hex(), "aead"]  # SPEC 11-4
    pair.run_until(lambda: pair.right_data.get(stream, b"") == b"early")
    assert pair.now == began + DELAY
    assert pair.right_events == [StreamOpened(stream), StreamDataReceived(stream, ended=True, early=True)]
    pair.run_until(lambda: len(pair.right_events) == 3)
    assert pair.right_events[2] == ConnectionEstablished(
        pair.left.identity.address, initiator=False, early_accepted=True
    )
    assert pair.left_events[0] == ConnectionEstablished(
        pair.right.identity.address, initiator=True, early_accepted=True
    )
    pair.run_for(10 * SECOND)
    assert kinds(pair).count(EARLY) == 1
    assert pair.connection.statistics().packets_lost == 0
    assert pair.left.drops.counts == pair.right.drops.counts == {}


def test_messages_go_early_as_well() -> None:
    """SPEC 15-3, 6.2."""
    pair = acquainted()
    connection = pair.left.connect(pair.peer, now=pair.now)
    connection.send_message(b"early", now=pair.now)
    pair.drain()
    pair.run_for(DELAY)
    assert pair.right_events == [MessageReceived(b"early", early=True)]
    pair.run_for(SECOND)
    connection.send_message(b"later", now=pair.now)
    pair.drain()
    pair.run_for(SECOND)
    assert pair.right_events[-1] == MessageReceived(b"later", early=False)


def test_what_is_written_later_is_not_early() -> None:
    pair = acquainted()
    connection, _ = ask(pair)
    pair.run_until(lambda: bool(pair.left_events))
    later = connection.open_stream()
    connection.write(later, b"later", end=True)
    pair.drain()
    pair.run_until(lambda: pair.right_data.get(later, b"") == b"later")
    assert StreamDataReceived(later, ended=True, early=False) in pair.right_events


def test_a_responder_may_answer_early_data_and_sends_it_when_it_may() -> None:
    """SPEC 3.1-3, 15-6: nothing but RESPONSE before the initiator has proven where it is."""
    pair = acquainted()
    _, stream = ask(pair)
    pair.run_until(lambda: bool(pair.right_data))
    assert pair.accepted is not None
    pair.accepted.write(stream, b"answer", end=True)
    pair.drain()
    assert kinds(pair, from_left=False) == [0xC2]
    pair.run_until(lambda: pair.left_data.get(stream, b"") == b"answer")


@pytest.mark.parametrize("arq", ["selective-repeat", "go-back-n", "stop-and-wait"])
@pytest.mark.parametrize("seed", range(4))
def test_early_data_survives_loss_doubling_and_overtaking(arq: str, seed: int) -> None:
    chosen = replace(EARLY_DATA, arq=arq)
    pair = acquainted(left=chosen, right=chosen, seed=seed)
    pair.to_right = pair.to_left = hostile(loss=0.3, duplicate=0.2, reorder=0.5, corrupt=0.05)
    data = Random(seed).randbytes(30_000)
    _, stream = ask(pair, data)
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == len(data))
    assert pair.right_data[stream] == data


@pytest.mark.parametrize("seed", range(30))
def test_early_data_arrives_whatever_else_is_chosen(seed: int) -> None:
    """SPEC 15-7: over any network, taken or refused, behind a cookie or not, with any controller and FEC."""
    rng = Random(f"early/{seed}")
    arq = rng.choice(sorted(ARQ_CODES))
    chosen = replace(
        EARLY_DATA,
        arq=arq,
        cipher=rng.choice(sorted(CIPHER_CODES)),
        congestion=rng.choice(CONTROLLERS.names()),
        fec="none" if arq == "stop-and-wait" else rng.choice(sorted(FEC_CODES)),
        handshake_timeout=100 * SECOND,
    )
    pair = acquainted(left=chosen, right=chosen, seed=seed, coalesce=rng.random() < 0.5)
    pair.to_right = pair.to_left = hostile(
        loss=rng.choice([0.0, 0.1, 0.4]), duplicate=0.2, reorder=0.5, corrupt=rng.choice([0.0, 0.05])
    )
    if rng.random() < 0.4:
        pair.right = Endpoint(pair.right.identity, chosen, rng=Random("again"))
    if rng.random() < 0.3:
        pair.right.configuration = replace(chosen, retry_threshold=0)
    data = rng.randbytes(rng.choice([1, 3000, 100_000]))
    _, stream = ask(pair, data)
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == len(data))
    assert pair.right_data[stream] == data


def test_early_data_of_both_kinds_of_cipher_and_with_a_shared_secret() -> None:
    """SPEC 15-1."""
    for settings in ({"cipher": "chacha20-poly1305"}, {"handshake": "ik-psk2", "pre_shared_key": "5a" * 32}):
        chosen = replace(EARLY_DATA, **settings)  # type: ignore[arg-type]
        pair = acquainted(left=chosen, right=chosen)
        _, stream = ask(pair)
        pair.run_until(lambda: pair.right_data.get(stream, b"") == b"early")  # noqa: B023 (called at once)
        assert EARLY in kinds(pair)


@pytest.mark.parametrize(
    "settings",
    [{"handshake": "xx"}, {"post_quantum": True}, {"integrity": "crc32c"}, {"integrity": "xor"}],
)
def test_no_tickets_where_they_would_be_seen_or_have_no_room(settings: dict[str, object]) -> None:
    """SPEC 15-1."""
    chosen = replace(EARLY_DATA, **settings)  # type: ignore[arg-type]
    pair = acquainted(left=chosen, right=chosen)
    connection = pair.left.connect(pair.peer, now=pair.now)
    assert not connection.writable


@pytest.mark.parametrize(("left", "right"), [(False, True), (True, False), (False, False)])
def test_both_ends_must_want_it(left: bool, right: bool) -> None:
    pair = acquainted(left=Configuration(early_data=left), right=Configuration(early_data=right))
    connection = pair.left.connect(pair.peer, now=pair.now)
    with pytest.raises(LocalProtocolError, match="initiating, not established"):
        connection.open_stream()


def test_a_ticket_is_for_one_connection_of_the_same_suite_and_mode() -> None:
    """SPEC 15-3: what the ticket remembers must hold."""
    pair = acquainted()
    for settings in ({"cipher": "chacha20-poly1305"}, {"arq": "go-back-n"}, {"integrity": "crc32c"}):
        chosen = replace(EARLY_DATA, **settings)  # type: ignore[arg-type]
        assert not pair.left.connect(pair.peer, configuration=chosen, now=pair.now).writable
    assert pair.left.connect(pair.peer, now=pair.now).writable
    assert not pair.left.connect(pair.peer, now=pair.now).writable


def test_a_ticket_is_too_old_after_its_lifetime() -> None:
    """SPEC 15-2, at the initiator: it does not even try."""
    pair = acquainted()
    pair.now += TICKET_LIFETIME - 62 * SECOND
    assert pair.left.connect(pair.peer, now=pair.now).writable
    pair = acquainted()
    pair.now += TICKET_LIFETIME
    assert not pair.left.connect(pair.peer, now=pair.now).writable


# refused


def test_a_restarted_responder_refuses_and_all_is_sent_again() -> None:
    """SPEC 15-4, 15-7: its ticket key is gone."""
    pair = acquainted()
    pair.right = Endpoint(pair.right.identity, EARLY_DATA, rng=Random("again"))
    data = Random(3).randbytes(20_000)
    _, stream = ask(pair, data)
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == len(data))
    assert pair.right_data[stream] == data
    assert pair.right.drops.counts["early data refused: unknown ticket"] == 1
    assert pair.right.drops.counts["EARLY that was not accepted"] == kinds(pair).count(EARLY) > 0
    assert ConnectionEstablished(pair.right.identity.address, initiator=True) in pair.left_events
    assert not any(isinstance(e, StreamDataReceived) and e.early for e in pair.right_events)
    assert pair.connection.statistics().congestion_window >= 14_720  # the path is not to blame


@pytest.mark.parametrize(
    "now",
    [
        replace(EARLY_DATA, stream_window=50_000),
        replace(EARLY_DATA, connection_window=60_000),
        replace(EARLY_DATA, max_streams_bidi=127),
        replace(EARLY_DATA, max_streams_uni=127),
        Configuration(),
    ],
)
def test_a_responder_that_allows_less_now_refuses_and_its_new_limits_rule(now: Configuration) -> None:
    """SPEC 15-4, 15-7."""
    pair = acquainted()
    pair.right.configuration = now
    data = Random(3).randbytes(200_000)
    _, stream = ask(pair, data)
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == len(data))
    assert pair.right_data[stream] == data
    assert pair.closed(right=True) is None


def test_early_data_that_fits_new_limits_no_more_ends_the_connection() -> None:
    """SPEC 15-7."""
    pair = acquainted()
    pair.right.configuration = replace(EARLY_DATA, stream_window=5_000)
    ask(pair, bytes(20_000))
    pair.run_until(lambda: pair.closed(right=False) is not None)
    closed = pair.closed(right=False)
    assert closed is not None
    assert (closed.code, closed.remote) == (ErrorCode.TRANSPORT_PARAMETER, False)


def test_no_more_goes_early_than_is_allowed() -> None:
    """SPEC 15-3: the window is the remembered one, and 64 KiB at most."""
    pair = acquainted(to_right=lambda datagram, rng: [DELAY])
    pair.to_right = lambda datagram, rng: []
    connection, _ = ask(pair, bytes(10 * MAX_EARLY_BYTES))
    pair.run_for(SECOND)
    assert 0 < connection.statistics().bytes_sent <= 2 * MAX_EARLY_BYTES
    assert connection.credit.to_send >= 0
    assert (
        connection.credit.to_send + sum(s.high_water for s in connection.streams.senders.values())
        == MAX_EARLY_BYTES
    )


# replayed


def replay(pair: Pair, datagrams: list[bytes]) -> None:
    for datagram in datagrams:
        pair.inject(datagram, to_right=True)


@pytest.mark.parametrize("pause", [0, SECOND, 100 * SECOND, TICKET_LIFETIME, 3 * TICKET_LIFETIME])
def test_a_replayed_flight_delivers_nothing_twice(pause: int) -> None:
    """SPEC 15-5: while the connection is open, after it, and when the ticket is old."""
    pair = acquainted()
    connection, stream = ask(pair)
    flight = [datagram for _, left, datagram in pair.wire if left]
    pair.run_until(lambda: bool(pair.left_events))
    if pause:
        connection.close(now=pair.now)
        pair.drain()
    pair.run_for(pause)
    delivered = [e for e in pair.right_events if isinstance(e, StreamDataReceived)]
    replay(pair, flight)
    pair.run_for(SECOND)
    assert [e for e in pair.right_events if isinstance(e, StreamDataReceived)] == delivered
    assert pair.right_data[stream] == b"early"


def test_a_flight_replayed_before_the_true_one_costs_the_true_one_nothing() -> None:
    """SPEC 3-6, 15-5: it is one flight, wherever it comes from; the rest is the initiator's."""
    pair = acquainted()
    _, stream = ask(pair)
    flight = [datagram for _, left, datagram in pair.wire if left]
    for datagram in flight:
        pair.inject(datagram, to_right=True)
    pair.run_until(lambda: len(pair.left_events) > 0)
    assert pair.right_data[stream] == b"early"
    assert [e for e in pair.right_events if isinstance(e, StreamDataReceived)] == [
        StreamDataReceived(stream, ended=True, early=True)
    ]


def test_early_data_copied_to_elsewhere_first_is_lost_to_nobody() -> None:
    """SPEC 3-9, 15-4, 15-6: the copy has the ticket and is told of; what it brought comes again, whole."""
    pair = acquainted()
    connection, stream = ask(pair)
    for datagram in [datagram for _, left, datagram in pair.wire if left]:
        pair.inject(datagram, to_right=True, source=("elsewhere", 1))
    assert pair.right_events == [StreamOpened(stream), StreamDataReceived(stream, ended=True, early=True)]
    pair.run_until(lambda: pair.closed(right=True) is not None)
    pair.run_for(SECOND)
    assert pair.closed(right=True) == ConnectionClosed(
        ErrorCode.HANDSHAKE_TIMEOUT, "the initiator went on with another handshake", remote=False
    )
    assert pair.right_events.count(StreamDataReceived(stream, ended=True)) == 1
    assert [c.remote for c in pair.right.connections] == [LEFT]
    assert not connection.closed


class Copying(Random):
    """Chance that gives the connection ID of somebody else, once, where there is one to copy."""

    copied = b""

    def randbytes(self, n: int) -> bytes:
        """Return the ID if as many bytes are asked for."""
        if n != len(self.copied):
            return super().randbytes(n)
        found, self.copied = self.copied, b""
        return found


def converse(pair: Pair, other: Endpoint, source: SocketAddress) -> None:
    """Let a third endpoint and the right one say what they have to say, at once."""
    while (transmit := other.transmit(now=pair.now)) is not None:
        before = len(pair.wire)
        pair.inject(bytes(transmit.buffer), to_right=True, source=source, segment=transmit.segment_size)
        for (_, _, datagram), to in list(zip(pair.wire, pair.destinations, strict=True))[before:]:
            if to == source:
                burst = Burst(pair.right_address, memoryview(bytearray(datagram)), len(datagram))
                other.receive(burst, now=pair.now)


def test_a_copied_connection_id_with_another_ticket_keeps_nobodys_early_data_out() -> None:
    """SPEC 15-8: an onlooker, a peer in its own right, begins under the ID it sees, and is the first."""
    pair = acquainted()
    rng, elsewhere = Copying("onlooker"), ("elsewhere", 1)
    onlooker = Endpoint(Identity(rng.randbytes(32)), EARLY_DATA, rng=rng)
    onlooker.connect(pair.peer, now=pair.now)
    converse(pair, onlooker, elsewhere)
    pair.right_events.clear()
    connection, stream = ask(pair)
    rng.copied = connection.connection_id
    copy = onlooker.connect(pair.peer, now=pair.now)
    copy.write(copy.open_stream(), b"other", end=True)
    converse(pair, onlooker, elsewhere)
    assert StreamDataReceived(0, ended=True, early=False) in pair.right_events  # it is a connection like any
    pair.run_until(lambda: bool(pair.left_events))
    assert StreamDataReceived(stream, ended=True, early=True) in pair.right_events
    assert pair.right_data[stream] == b"otherearly"
    assert not connection.closed
    assert not copy.closed
    assert not any("early data" in dropped for dropped in pair.right.drops.counts)


def test_a_flight_replayed_to_a_restarted_responder_delivers_nothing() -> None:
    """SPEC 15-4: other keys, so no memory of used tickets is needed."""
    pair = acquainted()
    ask(pair)
    flight = [datagram for _, left, datagram in pair.wire if left]
    pair.run_for(SECOND)
    fresh = Endpoint(pair.right.identity, EARLY_DATA, rng=Random("again"))
    for datagram in flight:
        fresh.receive(Burst(LEFT, memoryview(bytearray(datagram)), len(datagram)), now=pair.now)
    assert fresh.next_event() is None
    assert fresh.drops.counts == {"early data refused: unknown ticket": 1, "EARLY that was not accepted": 1}


def test_a_replayed_flight_that_nobody_confirms_is_told_of_and_forgotten() -> None:
    """SPEC 15-6: the application was given data, so it learns of the end."""
    pair = acquainted(left=replace(EARLY_DATA, handshake_timeout=2 * SECOND))
    pair.to_left = lambda datagram, rng: []
    ask(pair)
    pair.run_for(100 * SECOND)
    assert pair.closed(right=True) is not None
    assert pair.right.connections == ()


def test_early_data_waits_for_a_cookie() -> None:
    """SPEC 3.4-1: under load nothing is kept, early data included; it goes again after the handshake."""
    pair = acquainted()
    pair.right.configuration = replace(EARLY_DATA, retry_threshold=0)
    _, stream = ask(pair)
    pair.run_until(lambda: pair.right_data.get(stream, b"") == b"early")
    assert kinds(pair, from_left=False)[0] == RETRY
    assert pair.right.drops.counts["EARLY that was not accepted"] == 1


def test_early_data_is_no_proof_of_an_address() -> None:
    """SPEC 3.1-3, 15-6: whatever comes early, nothing but RESPONSE goes back."""
    pair = acquainted()
    pair.to_left = lambda datagram, rng: []
    ask(pair, bytes(10_000))
    pair.run_for(20 * SECOND)
    assert set(kinds(pair, from_left=False)) == {0xC2}
    assert kinds(pair, from_left=False).count(0xC2) <= kinds(pair).count(INITIATION)


# what EARLY may carry, and who may send tickets


def early_forger(pair: Pair) -> Callable[[bytes, int], bytes]:
    """Seals any payload as an EARLY packet of the connection that has just begun."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    _, cid, _, key = pair.key_log[-1].split()

    def seal(payload: bytes, number: int) -> bytes:
        header = bytes((EARLY,)) + bytes.fromhex(cid) + number.to_bytes(4, "big")
        return header + AESGCM(bytes.fromhex(key)).encrypt(number.to_bytes(12, "big"), payload, header)

    return seal


@pytest.mark.parametrize("frame", [Ack(((0, 1),), 0), NewTicket(1, bytes(32), b"t")])
def test_frames_that_are_not_for_early_data_end_the_half_open_connection(frame: Ack | NewTicket) -> None:
    """SPEC 15-3."""
    pair = acquainted()
    pair.to_left = lambda datagram, rng: []
    ask(pair)
    pair.run_for(10 * MILLISECOND)
    pair.inject(early_forger(pair)(frame.encode(), 1), to_right=True)
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.PROTOCOL_VIOLATION


def test_a_flood_of_early_data_is_dropped_at_its_cap() -> None:
    """SPEC 15-5. Cap: 128 KiB of packets a connection."""
    pair = acquainted(read=False)
    pair.to_left = lambda datagram, rng: []
    ask(pair)
    pair.run_for(10 * MILLISECOND)
    seal = early_forger(pair)
    for number in range(1, 200):
        payload = Stream(4, 1000 * (number - 1), bytes(1000), False).encode()
        pair.inject(seal(payload, number), to_right=True)
    assert pair.right.drops.counts["more early data than allowed"] > 60
    received = sum(len(r.buffer) for r in pair.right.connections[0].streams.receivers.values())
    assert received <= 2 * MAX_EARLY_BYTES


def test_early_data_from_another_place_is_dropped() -> None:
    """SPEC 15-5, 15-8: nobody moves before the handshake is through."""
    pair = acquainted()
    pair.to_right = lambda datagram, rng: [DELAY] if datagram[0] == INITIATION else []
    pair.to_left = lambda datagram, rng: []
    ask(pair)
    pair.run_for(10 * MILLISECOND)
    early = next(d for _, _, d in pair.wire if d[0] == EARLY)
    pair.inject(early, to_right=True, source=("elsewhere", 1))
    assert pair.right.drops.counts == {"EARLY that was not accepted": 1}
    assert pair.right_data == {}


def test_a_duplicate_and_a_damaged_early_packet_change_nothing() -> None:
    pair = acquainted()
    pair.to_left = lambda datagram, rng: []
    _, stream = ask(pair)
    early = next(d for _, _, d in pair.wire if d[0] == EARLY)
    pair.run_for(10 * MILLISECOND)
    pair.inject(early, to_right=True)
    pair.inject(early[:-1] + bytes((early[-1] ^ 1,)), to_right=True)
    statistics = pair.right.connections[0].statistics()
    assert (statistics.duplicate_packets, statistics.integrity_failures) == (1, 1)
    assert pair.right_data[stream] == b"early"


def test_a_ticket_from_an_initiator_is_a_violation() -> None:
    """SPEC 15-2."""
    pair = Pair()
    pair.established()
    Forger(pair).send(NewTicket(60, bytes(32), b"ticket"))
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.PROTOCOL_VIOLATION


def test_a_lost_ticket_comes_again() -> None:
    """SPEC 8-1, 15-2."""
    pair = Pair(left=EARLY_DATA, right=EARLY_DATA, to_left=hostile(loss=0.5), to_right=hostile(), seed=4)
    pair.established()
    pair.run_for(20 * SECOND)
    answers = Forger(pair).answers()
    assert [type(frame) for frame in answers].count(NewTicket) > 0
    connection = pair.left.connect(pair.peer, now=pair.now)
    assert connection.writable


def test_new_ticket_comes_back_whole() -> None:
    frame = NewTicket(3600, bytes(range(32)), b"x" * 113)
    assert parse_frames(memoryview(frame.encode() + b"\x01"))[0] == frame


def test_early_data_that_is_never_answered_keeps_nothing_alive() -> None:
    """SPEC 9-4, found by seed 40944: the timer was due for ever, and whoever asked for the next one span."""
    settings = Configuration(early_data=True, keep_alive=SECOND, handshake_timeout=20 * SECOND)
    pair = acquainted(left=settings, right=settings)
    pair.to_right = lambda datagram, rng: []
    connection, _ = ask(pair)
    steps = 0
    while not connection.closed:
        assert pair.step()
        steps += 1
        assert steps < 100, "spins"
    pair.run_for(SECOND)
    assert pair.left.connections == ()
