"""Damage to frames: what the receiver's kernel lets through, and what it does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.shaper.frames import flip_bit, has_unfinished_checksum
from orchestrator.simulation.packet import OVERHEAD, OVERHEAD_IPV6, Packet, from_frame, to_frame

MAC_A, MAC_B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
payloads = st.binary(min_size=1, max_size=64)


def frame(payload: bytes) -> bytes:
    return to_frame(Packet(("10.0.0.1", 5000), ("10.0.0.2", 4433), payload), MAC_A, MAC_B)


@given(payloads, st.integers(min_value=0))
def test_damage_in_the_payload_passes_the_udp_checksum(payload: bytes, number: int) -> None:
    bit = number % (8 * len(payload))
    damaged = from_frame(flip_bit(frame(payload), 8 * OVERHEAD + bit))
    assert damaged is not None
    different = int.from_bytes(damaged.payload, "big") ^ int.from_bytes(payload, "big")
    assert different == 1 << 8 * len(payload) - 1 - bit


@given(payloads, st.integers(min_value=8 * 14, max_value=8 * OVERHEAD - 1))
def test_damage_in_a_header_never_reaches_the_application(payload: bytes, bit: int) -> None:
    damaged = from_frame(flip_bit(frame(payload), bit))
    # A checksum field that becomes zero would mean "no checksum"; one flipped bit can do that.
    assert damaged is None or flip_bit(frame(payload), bit)[40:42] == b"\0\0"


def test_a_datagram_without_checksum_stays_without() -> None:
    bare = bytearray(frame(b"hello"))
    bare[40:42] = b"\0\0"
    assert flip_bit(bytes(bare), 8 * OVERHEAD)[40:42] == b"\0\0"


def test_other_protocols_are_only_flipped() -> None:
    arp = MAC_B + MAC_A + b"\x08\x06" + bytes(28)
    assert flip_bit(arp, 8 * 20) == arp[:20] + b"\x80" + arp[21:]


def test_a_bit_beyond_the_frame_changes_nothing() -> None:
    assert flip_bit(b"\0" * 60, 8 * 60) == b"\0" * 60


@given(payloads)
def test_a_finished_checksum_is_told_from_one_left_for_a_card(payload: bytes) -> None:
    good = frame(payload)
    unfinished = bytearray(good)
    addresses = int.from_bytes(good[26:34], "big")
    pseudo_header = (addresses + 17 + len(payload) + 8) % 0xFFFF
    unfinished[40:42] = pseudo_header.to_bytes(2, "big")
    assert has_unfinished_checksum(bytes(unfinished))
    if int.from_bytes(good[40:42], "big") % 0xFFFF != pseudo_header:
        assert not has_unfinished_checksum(good)


def frame_ipv6(payload: bytes) -> bytes:
    return to_frame(Packet(("fd00::1", 5000), ("fd00::2", 4433), payload), MAC_A, MAC_B)


@given(payloads, st.integers(min_value=0))
def test_damage_in_a_payload_over_ipv6_passes_the_udp_checksum(payload: bytes, number: int) -> None:
    bit = number % (8 * len(payload))
    damaged = from_frame(flip_bit(frame_ipv6(payload), 8 * OVERHEAD_IPV6 + bit))
    assert damaged is not None
    different = int.from_bytes(damaged.payload, "big") ^ int.from_bytes(payload, "big")
    assert different == 1 << 8 * len(payload) - 1 - bit


@given(payloads)
def test_a_checksum_over_ipv6_left_for_a_card_is_told_from_a_finished_one(payload: bytes) -> None:
    good = frame_ipv6(payload)
    unfinished = bytearray(good)
    pseudo_header = (int.from_bytes(good[22:54], "big") + 17 + len(payload) + 8) % 0xFFFF
    unfinished[60:62] = pseudo_header.to_bytes(2, "big")
    assert has_unfinished_checksum(bytes(unfinished))
    if int.from_bytes(good[60:62], "big") % 0xFFFF != pseudo_header:
        assert not has_unfinished_checksum(good)
