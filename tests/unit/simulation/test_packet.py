"""Simulated packets and their frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.simulation.packet import (
    OVERHEAD,
    OVERHEAD_IPV6,
    Packet,
    from_frame,
    internet_checksum,
    to_frame,
)

MAC_A, MAC_B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
SOURCE, DESTINATION = ("10.0.0.1", 4433), ("10.255.0.2", 65_535)

KNOWN_IPV6 = (
    "02000000000202000000000186dd60100000000d1140fd6e6172726f00000000000"
    "000000001fd6e6172726f0000000000000000000211511151000df6bb68656c6c6f"
)


def sum_of_words(data: bytes) -> int:
    """The checksum as RFC 1071 spells it: a second reading, word by word."""
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@given(st.binary(max_size=200))
def test_the_checksum_is_the_sum_of_words(data: bytes) -> None:
    assert internet_checksum(data) == sum_of_words(data)


@given(st.binary(max_size=200), st.integers(0, 3), st.integers(2, 255))
def test_a_frame_reads_back_as_its_packet(payload: bytes, ecn: int, ttl: int) -> None:
    frame = to_frame(Packet(SOURCE, DESTINATION, payload, ecn=ecn, ttl=ttl), MAC_A, MAC_B)
    packet = from_frame(frame)
    assert packet is not None
    assert (packet.source, packet.destination, packet.payload) == (SOURCE, DESTINATION, payload)
    assert (packet.ecn, packet.ttl, packet.size) == (ecn, ttl, len(frame))
    assert frame[:12] == MAC_B + MAC_A
    assert sum_of_words(frame[14:34]) == 0


def test_a_frame_is_what_a_kernel_would_send() -> None:
    """Known answer, made with scapy."""
    frame = to_frame(Packet(("10.0.0.1", 4433), ("10.0.0.2", 4433), b"hello"), MAC_A, MAC_B)
    assert frame.hex(" ", -2) == (
        "0200 0000 0002 0200 0000 0001 0800 "
        "4500 0021 0000 4000 4011 26ca 0a00 0001 0a00 0002 "
        "1151 1151 000d 855d 6865 6c6c 6f"
    )


@given(st.binary(min_size=1, max_size=100), st.integers(min_value=0))
def test_corruption_of_the_payload_flips_one_bit_of_a_copy(payload: bytes, number: int) -> None:
    packet = Packet(SOURCE, DESTINATION, payload)
    damaged = packet.corrupted(8 * OVERHEAD + number % (8 * len(payload)))
    assert packet.payload == payload
    assert (int.from_bytes(damaged.payload, "big") ^ int.from_bytes(payload, "big")).bit_count() == 1
    assert damaged.damaged_bit is None
    assert from_frame(to_frame(damaged, MAC_A, MAC_B)) is not None


def test_corruption_of_headers_is_fatal_but_for_the_sources_mac() -> None:
    packet = Packet(SOURCE, DESTINATION, b"hello")
    fatal = {bit // 8 for bit in range(8 * OVERHEAD) if packet.corrupted(bit).damaged_bit is not None}
    assert fatal == set(range(OVERHEAD)) - set(range(6, 12))


@given(st.binary(max_size=80))
def test_no_frame_whatsoever_raises(frame: bytes) -> None:
    from_frame(frame)
    from_frame(to_frame(Packet(SOURCE, DESTINATION, b""), MAC_A, MAC_B)[:14] + frame)


@given(st.binary(max_size=200), st.integers(0, 3), st.integers(2, 255))
def test_an_ipv6_frame_reads_back_as_its_packet(payload: bytes, ecn: int, ttl: int) -> None:
    source, destination = ("fd6e:6172:726f::1", 4433), ("fd6e:6172:726f:1::2", 65_535)
    frame = to_frame(Packet(source, destination, payload, ecn=ecn, ttl=ttl), MAC_A, MAC_B)
    packet = from_frame(frame)
    assert packet is not None
    assert (packet.source, packet.destination, packet.payload) == (source, destination, payload)
    assert (packet.ecn, packet.ttl, packet.size) == (ecn, ttl, len(frame))
    assert len(frame) == OVERHEAD_IPV6 + len(payload)


def test_an_ipv6_frame_is_what_a_kernel_would_send() -> None:
    """Known answer, made with scapy."""
    packet = Packet(("fd6e:6172:726f::1", 4433), ("fd6e:6172:726f::2", 4433), b"hello", ecn=1)
    assert to_frame(packet, MAC_A, MAC_B).hex() == KNOWN_IPV6


def test_ipv6_without_a_checksum_is_dropped() -> None:
    """RFC 8200, section 8.1: zero does not mean "none" there."""
    frame = bytearray(bytes.fromhex(KNOWN_IPV6))
    frame[60:62] = bytes(2)
    assert from_frame(bytes(frame)) is None


@given(st.binary(max_size=120))
def test_any_ipv6_bytes_are_read_or_dropped(data: bytes) -> None:
    from_frame(bytes(12) + b"\x86\xdd" + data)
