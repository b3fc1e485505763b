"""Keys change while the connection lives, and nothing is lost by it (SPEC 4.2; RFC 9001 §6)."""

from __future__ import annotations

from random import Random

import pytest

from node.protocol.configuration import MAX_KEY_UPDATE_PACKETS, Configuration
from node.protocol.datagrams import Burst
from node.protocol.errors import ErrorCode, LocalProtocolError
from node.protocol.events import StreamAcknowledged
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.frames import Ack, Ping, Stream
from node.protocol.wire.protection import AeadProtection
from tests.support.forge import Forger
from tests.support.pair import LEFT, Pair, hostile

FEW = Configuration(key_update_packets=20)


def forged(right: Configuration | None = None) -> tuple[Pair, Forger]:
    """An established pair whose left end is replaced by a forger: it hears and says nothing more."""
    pair = Pair(right=right)
    pair.established()
    assert pair.accepted is not None
    pair.accepted.write(pair.accepted.open_stream(), b"acknowledged")
    pair.drain()
    pair.run_for(SECOND)
    pair.to_left = pair.to_right = lambda datagram, rng: []
    return pair, Forger(pair)


def burst(packet: bytes) -> Burst:
    """A packet as the driver hands it over."""
    return Burst(LEFT, memoryview(bytearray(packet)), len(packet))


def kinds(pair: Pair, *, from_left: bool) -> list[int]:
    """The types of DATA packets that one end sent, each run of equal ones once."""
    found: list[int] = []
    for _, left, datagram in pair.wire:
        if left is from_left and datagram[0] in (0x41, 0x45) and found[-1:] != [datagram[0]]:
            found.append(datagram[0])
    return found


@pytest.mark.parametrize("coalesce", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_updates_under_loss_reordering_and_duplicates_deliver_exactly(seed: int, coalesce: bool) -> None:
    """SPEC 4.2-3 to 4.2-6."""
    fate = hostile(loss=0.1, duplicate=0.1, reorder=0.3, corrupt=0.02)
    pair = Pair(left=FEW, right=FEW, to_right=fate, to_left=fate, seed=seed, coalesce=coalesce)
    pair.established()
    assert pair.accepted is not None
    data = Random(seed).randbytes(400_000)
    there, back = pair.connection.open_stream(), pair.accepted.open_stream()
    pair.connection.write(there, data, end=True)
    pair.accepted.write(back, data[::-1], end=True)
    pair.drain()
    pair.run_until(
        lambda: (
            StreamAcknowledged(there) in pair.left_events and StreamAcknowledged(back) in pair.right_events
        )
    )
    assert pair.right_data[there] == data
    assert pair.left_data[back] == data[::-1]
    assert pair.connection.statistics().key_updates >= 5
    assert pair.accepted.statistics().key_updates >= 5


def test_the_peer_follows_an_update_it_did_not_ask_for() -> None:
    """SPEC 4.2-4: in the very acknowledgement."""
    pair = Pair()
    connection = pair.established()
    pair.run_for(SECOND)
    connection.update_keys()
    connection.write(connection.open_stream(), b"under new keys")
    pair.drain()
    pair.run_for(SECOND)
    assert kinds(pair, from_left=True) == kinds(pair, from_left=False) == [0x41, 0x45]
    assert pair.right_data[0] == b"under new keys"
    assert pair.accepted is not None
    assert pair.accepted.statistics().key_updates == connection.statistics().key_updates == 1


def test_both_may_update_at_once_and_that_is_one_phase() -> None:
    pair = Pair()
    left = pair.established()
    right = pair.accepted
    assert right is not None
    right.write(right.open_stream(), b"acknowledged", end=True)
    pair.drain()
    pair.run_for(SECOND)
    for connection in (left, right):
        connection.update_keys()
        connection.write(connection.open_stream(), b"hello", end=True)
    pair.drain()
    pair.run_for(SECOND)
    assert left.statistics().key_updates == right.statistics().key_updates == 1
    assert pair.right_data[0] == pair.left_data[5] == b"hello"


def test_no_update_before_the_last_one_was_acknowledged() -> None:
    """SPEC 4.2-3."""
    pair = Pair()
    connection = pair.connect()
    with pytest.raises(LocalProtocolError, match="not established"):
        connection.update_keys()
    pair.established()
    with pytest.raises(LocalProtocolError, match="not acknowledged"):
        connection.update_keys()
    pair.run_for(SECOND)
    connection.update_keys()
    with pytest.raises(LocalProtocolError, match="not acknowledged"):
        connection.update_keys()
    connection.write(connection.open_stream(), b"x")
    pair.drain()
    pair.run_for(SECOND)
    connection.update_keys()


@pytest.mark.parametrize("profile", ["crc32c", "xor"])
def test_checksum_profiles_have_one_phase(profile: str) -> None:
    """SPEC 4.2-1: a packet with the bit set is dropped though its tag is right."""
    pair = Pair(left=Configuration(integrity=profile, key_update_packets=1))
    connection = pair.established()
    with pytest.raises(LocalProtocolError, match="no keys"):
        connection.update_keys()
    pair.run_for(SECOND)
    forger = Forger(pair)
    forger.kind = 0x45
    pair.inject(forger.packet(Stream(0, 0, b"x").encode()), to_right=True)
    assert pair.right_data == {}
    assert pair.accepted is not None
    assert pair.accepted.statistics().integrity_failures == 1


def test_a_phase_lasts_as_many_packets_as_set() -> None:
    """SPEC 4.2-5: never fewer, and hardly more while acknowledgements come."""
    pair = Pair(left=Configuration(key_update_packets=100))
    connection = pair.established()
    connection.write(connection.open_stream(), bytes(1_000_000), end=True)
    pair.drain()
    pair.run_until(lambda: StreamAcknowledged(0) in pair.left_events)
    runs: list[list[int]] = []
    for _, from_left, datagram in pair.wire:
        if from_left and datagram[0] in (0x41, 0x45):
            if not runs or runs[-1][0] != datagram[0]:
                runs.append([datagram[0], 0])
            runs[-1][1] += 1
    assert len(runs) >= 4
    # A phase ends between two bursts, and only when it is acknowledged: a window later.
    assert all(100 <= count < 400 for _, count in runs[:-1])


def test_a_phase_lasts_as_long_as_set() -> None:
    """SPEC 4.2-5."""
    pair = Pair(left=Configuration(key_update_interval=10 * SECOND))
    connection = pair.established()
    stream = connection.open_stream()
    for _ in range(25):
        connection.write(stream, b"tick")
        pair.drain()
        pair.run_for(SECOND)
    assert connection.statistics().key_updates == 2


def test_the_settings_are_checked() -> None:
    Configuration(key_update_packets=MAX_KEY_UPDATE_PACKETS, key_update_interval=0)
    for wrong in (0, MAX_KEY_UPDATE_PACKETS + 1):
        with pytest.raises(LocalProtocolError, match="key_update_packets"):
            Configuration(key_update_packets=wrong)


# A peer that forges, is late, or breaks the rules


def test_a_late_packet_of_the_phase_before_is_opened_for_three_probe_timeouts() -> None:
    """SPEC 4.2-6: with the old key, by its number; afterwards it is gone."""
    pair, forger = forged()
    late, too_late = forger.packet(Stream(0, 0, b"late").encode()), forger.packet(Ping().encode())
    forger.update_keys()
    forger.send(Ping())
    pair.inject(late, to_right=True)
    assert pair.right_data[0] == b"late"
    accepted = pair.accepted
    assert accepted is not None
    pair.run_for(2 * SECOND)
    pair.inject(too_late, to_right=True)
    assert accepted.statistics().integrity_failures == 1
    forger.send(Stream(0, 4, b" and new"))
    assert pair.right_data[0] == b"late and new"


def test_forged_packets_of_the_other_phase_change_nothing() -> None:
    """SPEC 4.2-6: a wrong tag is a wrong tag."""
    pair, forger = forged()
    accepted = pair.accepted
    assert accepted is not None
    rng = Random(4)
    for _ in range(100):
        forger.kind = 0x45
        packet = forger.packet(rng.randbytes(50))  # sealed with the wrong key for its type
        forger.kind = 0x41
        pair.inject(packet, to_right=True)
    assert accepted.statistics().integrity_failures == 100
    assert accepted.statistics().key_updates == 0
    forger.send(Stream(0, 0, b"still phase 0"))
    assert pair.right_data[0] == b"still phase 0"


def test_a_replayed_packet_of_the_phase_before_is_a_duplicate() -> None:
    pair, forger = forged()
    old = forger.packet(Stream(0, 0, b"once").encode())
    pair.inject(old, to_right=True)
    forger.update_keys()
    forger.send(Ping())
    pair.inject(old, to_right=True)
    assert pair.accepted is not None
    assert pair.accepted.statistics().duplicate_packets == 1


def test_one_burst_may_hold_packets_of_the_phases_before_and_after() -> None:
    """SPEC 4.2-7: both have the same type byte; the acknowledgement is one of the newer phase."""
    pair, forger = forged()
    accepted = pair.accepted
    assert accepted is not None
    late = forger.packet(Ping().encode() + bytes(39))
    forger.update_keys()
    forger.send(Ping())
    stream = accepted.open_stream()
    accepted.write(stream, b"phase 1")
    pair.drain()
    forger.send(Ack(((0, accepted.statistics().packets_sent),), 0))
    accepted.update_keys()
    accepted.write(stream, b"phase 2")
    pair.drain()
    forger.update_keys()
    newer = forger.packet(Ack(((0, accepted.statistics().packets_sent),), 0).encode().ljust(40, b"\0"))
    assert (late[0], len(late)) == (newer[0], len(newer)) == (0x41, len(newer))
    both = memoryview(bytearray(late + newer))
    pair.right.receive(Burst(LEFT, both, len(late)), now=pair.now)
    pair.drain()
    assert pair.closed(right=True) is None
    assert accepted.statistics().key_updates == 2


def test_a_second_update_before_any_acknowledgement_closes() -> None:
    """SPEC 4.2-7."""
    pair, forger = forged()
    packets = []
    for _ in range(2):
        forger.update_keys()
        packets.append(forger.packet(Ping().encode()))
    # In one wake-up: nothing can be sent between the two.
    for packet in packets:
        pair.right.receive(burst(packet), now=pair.now)
    pair.drain()
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.KEY_UPDATE


def test_a_second_update_after_an_acknowledgement_is_followed() -> None:
    pair, forger = forged()
    for count in (1, 2, 3):
        forger.update_keys()
        forger.send(Ping())
        forger.send(Ping())
        pair.run_for(100 * MILLISECOND)
        assert pair.accepted is not None
        assert pair.accepted.statistics().key_updates == count
    assert pair.closed(right=True) is None


def test_an_acknowledgement_from_a_phase_too_old_closes() -> None:
    """SPEC 4.2-7: who acknowledges a packet of phase 1 has its key, and must use it."""
    pair, forger = forged()
    accepted = pair.accepted
    assert accepted is not None
    accepted.update_keys()
    number = accepted.statistics().packets_sent
    accepted.write(accepted.open_stream(), b"phase 1")
    pair.drain()
    forger.send(Ack(((0, number),), 0))
    assert pair.closed(right=True) is None
    forger.send(Ack(((0, number + 1),), 0))
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.KEY_UPDATE


def test_too_many_forgeries_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 4.2-8."""
    monkeypatch.setattr(AeadProtection, "integrity_limit", 10)
    pair, forger = forged()
    for count in range(10):
        assert pair.closed(right=True) is None, count
        packet = forger.packet(Ping().encode())
        pair.inject(packet[:-1] + bytes((packet[-1] ^ 1,)), to_right=True)
    closed = pair.closed(right=True)
    assert closed is not None
    assert closed.code == ErrorCode.AEAD_LIMIT


def test_keys_that_cannot_be_updated_are_not_worn_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """SPEC 4.2-8: the peer receives, and acknowledges nothing of this phase."""
    monkeypatch.setattr(AeadProtection, "confidentiality_limit", 60)
    pair, forger = forged(Configuration(key_update_packets=30))
    accepted = pair.accepted
    assert accepted is not None
    stream = accepted.open_stream()
    while pair.closed(right=True) is None:
        assert accepted.statistics().packets_sent < 100
        accepted.write(stream, b"x")
        pair.drain()
        pair.run_for(SECOND)
        forger.send(Ping())
    assert pair.closed(right=True).code == ErrorCode.AEAD_LIMIT  # type: ignore[union-attr]
