"""Parts too small for a file of tests of their own: both sides of each of their limits."""

from __future__ import annotations

import pytest

from node.protocol.arena import MAX_CACHED_SIZES, Arena
from node.protocol.configuration import Configuration
from node.protocol.errors import LocalProtocolError, RemoteProtocolError
from node.protocol.noise import Handshake, message_patterns
from node.protocol.ranges import RangeSet
from node.protocol.recovery.acknowledgements import Acknowledgements
from node.protocol.recovery.pacer import Pacer
from node.protocol.streams.receive import MAX_GAPS_AFTER_ONE_PACKET, ReceiveStream
from node.protocol.streams.table import StreamTable
from node.protocol.time import SECOND
from node.protocol.wire.packet_number import decode_packet_number
from node.protocol.wire.parameters import TransportParameters, parse_parameters


def test_an_arena_caches_slots_of_so_many_sizes_only() -> None:
    """Sizes come from the peer: remembered for ever, they would fill our memory."""
    arena = Arena()
    first = arena.slots(100, 16)
    for size in range(101, 101 + MAX_CACHED_SIZES - 1):
        arena.slots(size, 16)
    assert arena.slots(100, 16) is first
    arena.slots(5000, 16)
    again = arena.slots(100, 16)
    assert again is not first
    assert [slot.position for slot in again] == [slot.position for slot in first]


@pytest.mark.parametrize("setting", ["integrity", "arq"])
def test_a_setting_that_is_none_of_its_names_is_refused(setting: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"{setting}: found 'none', use one of"):
        Configuration(**{setting: "none"})  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", ["ZZ", "IKpsk", "IKpskx", "IKpsk3"])
def test_patterns_that_are_not_there_are_refused(pattern: str) -> None:
    with pytest.raises(LocalProtocolError, match="no such Noise pattern"):
        message_patterns(pattern)


def test_another_curve_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="no such Noise protocol"):
        Handshake(
            "Noise_IK_448_AESGCM_SHA256", initiator=True, prologue=b"", static=bytes(32), ephemeral=bytes(32)
        )


def test_a_range_set_shows_what_it_holds_and_equals_its_like_only() -> None:
    ranges = RangeSet([(1, 3), (5, 6)])
    assert repr(ranges) == "RangeSet([1, 3), [5, 6))"
    assert ranges == RangeSet([(5, 6), (1, 3)])
    assert ranges != RangeSet([(1, 3)])
    assert ranges != [(1, 3), (5, 6)]
    assert (ranges.first, ranges.last) == ((1, 3), (5, 6))


def test_who_received_nothing_acknowledges_nothing() -> None:
    acks = Acknowledgements(max_ack_delay=25, at_once=False)
    assert acks.frame(now=0) is None


def test_a_pacer_with_tokens_says_now() -> None:
    pacer = Pacer(5000)
    assert pacer.next_time(packet_size=1000, wanted=1000, now=7) == 7
    pacer.set_rate(1000, congestion_window=0, smoothed_rtt=SECOND)
    assert pacer.next_time(packet_size=1000, wanted=1000, now=7) == 7


def test_one_packet_that_opens_thousands_of_gaps_is_an_attack() -> None:
    """SPEC 6-6 counts from packet to packet; this is the bound within one."""
    stream = ReceiveStream(0, 1 << 20)
    for index in range(1, MAX_GAPS_AFTER_ONE_PACKET + 1):
        stream.receive(2 * index, b"x", fin=False)
    with pytest.raises(RemoteProtocolError, match="too many gaps"):
        stream.receive(2 * MAX_GAPS_AFTER_ONE_PACKET + 2, b"x", fin=False)
    stream.receive(0, b"xx", fin=False)  # what closes one is taken


def test_a_stream_that_never_was_cannot_be_read() -> None:
    streams = StreamTable(initiator=True, stream_window=100, max_bidi=1, max_uni=1)
    with pytest.raises(LocalProtocolError, match="no stream 4 to read from"):
        streams.receiver(4)
    with pytest.raises(LocalProtocolError, match="no stream 4 to send on"):
        streams.sender(4)


@pytest.mark.parametrize(
    ("largest", "full"),
    [((1 << 32) - 2, (1 << 32) + 5), ((1 << 32) + 5, (1 << 32) - 2), ((1 << 33), (1 << 33) - (1 << 31) + 2)],
)
def test_a_packet_number_comes_back_across_a_wrap_in_both_directions(largest: int, full: int) -> None:
    """SPEC 4-1."""
    assert decode_packet_number(largest, full & 0xFFFF_FFFF) == full


@pytest.mark.parametrize("value", ["0400", "04020101"])
def test_a_number_that_does_not_fill_its_transport_parameter_is_refused(value: str) -> None:
    encoded = TransportParameters.of(Configuration(), b"abcdefgh").encode()
    known = bytes.fromhex("0404") + Configuration().first_connection_window.to_bytes(4, "big")
    known = bytes((known[0], known[1], known[2] | 0x80)) + known[3:]
    assert known in encoded
    with pytest.raises(RemoteProtocolError, match="initial_max_data"):
        parse_parameters(encoded.replace(known, bytes.fromhex(value)))
