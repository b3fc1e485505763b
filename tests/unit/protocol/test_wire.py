"""The codec against known answers and against damage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from node.protocol.configuration import Configuration
from node.protocol.errors import LocalProtocolError, RemoteProtocolError
from node.protocol.suites import SUITES, Suite
from node.protocol.wire.crc32c import crc32c
from node.protocol.wire.frames import Ack, Close, Stream, parse_frames
from node.protocol.wire.packet_number import decode_packet_number, needed_bits
from node.protocol.wire.parameters import TransportParameters, parse_parameters
from node.protocol.wire.protection import xor_of
from node.protocol.wire.setup import (
    COMPLETION,
    INITIATION,
    RESPONSE,
    RETRY,
    RETRY_BYTES,
    SetupPacket,
    parse_setup,
)
from node.protocol.wire.varint import MAX_VARINT, decode_varint, encode_varint

# RFC 9000 A.1
VARINTS = [
    (25, "19"),
    (15_293, "7bbd"),
    (494_878_333, "9d7f3e7d"),
    (151_288_809_941_952_652, "c2197c5eff14e88c"),
]


@pytest.mark.parametrize(("value", "encoded"), VARINTS)
def test_varints_of_rfc_9000(value: int, encoded: str) -> None:
    assert encode_varint(value).hex() == encoded
    assert decode_varint(bytes.fromhex(encoded), 0) == (value, len(encoded) // 2)


def test_a_longer_encoding_than_needed_is_accepted() -> None:
    assert decode_varint(bytes.fromhex("4025"), 0) == (37, 2)


@pytest.mark.parametrize("value", [-1, MAX_VARINT + 1])
def test_varints_out_of_range_are_refused(value: int) -> None:
    with pytest.raises(LocalProtocolError):
        encode_varint(value)


@pytest.mark.parametrize("data", ["", "40", "8000", "c0000000000000"])
def test_truncated_varints_are_refused(data: str) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_varint(bytes.fromhex(data), 0)


def test_packet_numbers_of_rfc_9000() -> None:
    assert needed_bits(0xAC5C02, 0xABE8B3) == 16
    assert decode_packet_number(0xA82F30EA, 0x9B32, 16) == 0xA82F9B32


@pytest.mark.parametrize("full", [0, 1, 2**32 - 1, 2**32, 2**32 + 1, 2**40 + 7, 2**62 - 2])
@pytest.mark.parametrize("behind", [1, 2, 1000, 2**30])
def test_a_packet_number_comes_back_from_its_low_bits(full: int, behind: int) -> None:
    largest = max(-1, full - behind)
    assert decode_packet_number(largest, full & 0xFFFF_FFFF) == full


# RFC 3720 B.4, as numbers
CRCS = [
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (b"123456789", 0xE3069283),
]


@pytest.mark.parametrize(("data", "expected"), CRCS)
def test_crc32c_of_rfc_3720(data: bytes, expected: int) -> None:
    """SPEC 4.1-2."""
    assert crc32c(data) == expected


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 1199, 1452, 2048, 2049, 9000])
def test_the_fast_crc_is_the_plain_one(length: int) -> None:
    data = bytes(i * 7 & 0xFF for i in range(length))
    crc = 0xFFFF_FFFF
    for byte in b"\x01\x02\x03\x04" + data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F6_3B78 if crc & 1 else 0)
    assert crc32c(data, b"\x01\x02\x03\x04") == crc ^ 0xFFFF_FFFF


@pytest.mark.parametrize("length", [0, 1, 2, 3, 1000])
def test_xor_is_that_of_all_bytes(length: int) -> None:
    data = bytes(i * 31 & 0xFF for i in range(length))
    expected = 0
    for byte in data:
        expected ^= byte
    assert xor_of(data) == expected


def test_ack_ranges_are_encoded_as_in_rfc_9000() -> None:
    ack = Ack(((90, 100), (80, 85), (3, 4)), 25)
    # largest 99, delay 25, two more ranges, first 10 long; gap 90-85-1, 5 long; gap 80-4-1, 1 long
    assert ack.encode().hex() == "02" + "4063" + "19" + "02" + "09" + "0404" + "404b00"
    assert list(parse_frames(memoryview(ack.encode()))) == [ack]


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "03",
        "1d",
        "ff",
        "02",
        "0205001000",  # more ranges than bytes
        "02050040ff00",  # more than 64 ranges
        "020500000a",  # first range below zero
        "0208000100" + "0800",  # second range below zero
        "0a000005aabb",  # STREAM shorter than its length
        "08",
        "1c0005aa",
        "04010203"[:-2],
        "1c000180",  # a reason that is not UTF-8
    ],
)
def test_malformed_frames_are_refused(payload: str) -> None:
    with pytest.raises(RemoteProtocolError):
        list(parse_frames(memoryview(bytes.fromhex(payload))))


def test_a_stream_frame_may_not_end_beyond_2_to_the_62() -> None:
    """SPEC 5-7."""
    frame = Stream(0, (1 << 62) - 2, b"ab").encode()
    with pytest.raises(RemoteProtocolError):
        list(parse_frames(memoryview(frame)))


def test_a_long_reason_is_cut() -> None:
    (frame,) = parse_frames(memoryview(Close(1, "x" * 5000).encode()))
    assert frame == Close(1, "x" * 512)


def setup_packet(kind: int = INITIATION, suite: int = 0x01, cookie: bytes = b"", **other: Any) -> SetupPacket:
    return SetupPacket(kind, suite, 1, 2, bytes(8), b"12345678", 0, b"noise" * 20, cookie, **other)


@pytest.mark.parametrize("cookie", [b"", b"0123456789abcdef"])
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("kind", [INITIATION, RESPONSE, COMPLETION])
def test_a_set_up_packet_comes_back_and_is_as_long_as_its_suite_says(
    kind: int, suite: int, cookie: bytes
) -> None:
    """SPEC 3-1, 3.3-4."""
    packet = setup_packet(kind, suite, cookie)
    encoded = packet.encode()
    assert len(encoded) == (1452 if suite & 0x80 else 1200)
    assert parse_setup(memoryview(encoded)) == packet


def test_a_retry_comes_back_and_is_small() -> None:
    packet = SetupPacket(RETRY, 0x01, 1, 2, b"12345678", bytes(8), 3, b"", b"0123456789abcdef")
    encoded = packet.encode()
    assert len(encoded) == RETRY_BYTES == 65
    assert parse_setup(memoryview(encoded)) == packet
    assert parse_setup(memoryview(encoded.ljust(1200, b"\0"))) == "set-up packet of wrong length"


def test_suites_have_the_bytes_and_names_of_the_specification() -> None:
    """SPEC 3.3-1."""
    assert {code: suite.protocol_name for code, suite in SUITES.items()} == {
        0x01: "Noise_IK_25519_AESGCM_SHA256",
        0x11: "Noise_IK_25519_ChaChaPoly_BLAKE2s",
        0x02: "Noise_XX_25519_AESGCM_SHA256",
        0x12: "Noise_XX_25519_ChaChaPoly_BLAKE2s",
        0x03: "Noise_IKpsk2_25519_AESGCM_SHA256",
        0x13: "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s",
        0x81: "Noise_IKhfs_25519+MLKEM768_AESGCM_SHA256",
        0x91: "Noise_IKhfs_25519+MLKEM768_ChaChaPoly_BLAKE2s",
        0x82: "Noise_XXhfs_25519+MLKEM768_AESGCM_SHA256",
        0x92: "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_BLAKE2s",
        0x83: "Noise_IKhfs+psk2_25519+MLKEM768_AESGCM_SHA256",
        0x93: "Noise_IKhfs+psk2_25519+MLKEM768_ChaChaPoly_BLAKE2s",
    }
    assert Suite("xx", "chacha20-poly1305", post_quantum=True).name == "xx/chacha20-poly1305/ml-kem-768"


@pytest.mark.parametrize("position", [0, 1, 5, 20, 37, 41, 60, 1000, 1199])
def test_damage_anywhere_in_a_set_up_packet_is_found(position: int) -> None:
    """SPEC 3-2: before anything else is looked at."""
    damaged = bytearray(setup_packet().encode())
    damaged[position] ^= 0x10
    assert parse_setup(memoryview(damaged)) == "wrong CRC-32C"


def refit(packet: SetupPacket, change: Callable[[bytearray], None]) -> bytes:
    """A packet with changed bytes and a CRC that fits them."""
    encoded = bytearray(packet.encode())
    change(encoded)
    encoded[-4:] = crc32c(encoded[:-4]).to_bytes(4, "big")
    return bytes(encoded)


def test_set_up_packets_that_say_otherwise_are_dropped() -> None:
    """SPEC 3-1, 3.3: each with its reason."""
    encoded = setup_packet().encode()
    assert parse_setup(memoryview(encoded[:-1])) == "set-up packet of wrong length"
    assert parse_setup(memoryview(setup_packet(version=7).encode())) == "unknown version"
    cases: list[tuple[int, int, str]] = [
        (5, 0x00, "unknown suite"),
        (5, 0x04, "unknown suite"),
        (5, 0x41, "unknown suite"),
        (5, 0x81, "set-up packet of wrong length"),
        (42, 15, "cookie of wrong length"),
        (42, 17, "cookie of wrong length"),
        (43, 0x05, "Noise message longer than its packet"),
    ]
    for position, value, reason in cases:
        changed = refit(setup_packet(), lambda data: data.__setitem__(position, value))  # noqa: B023 (called at once)
        assert parse_setup(memoryview(changed)) == reason


def test_a_noise_message_may_fill_its_packet_and_no_more() -> None:
    room = 1200 - 45 - 4
    for size, fits in ((room, True), (room + 1, False)):
        changed = refit(setup_packet(), lambda data: data.__setitem__(slice(43, 45), size.to_bytes(2, "big")))  # noqa: B023
        assert isinstance(parse_setup(memoryview(changed)), SetupPacket) is fits


def parameters() -> TransportParameters:
    return TransportParameters.of(Configuration(), b"abcdefgh")


def test_transport_parameters_come_back() -> None:
    assert parse_parameters(parameters().encode()) == parameters()


def test_unknown_transport_parameters_are_ignored() -> None:
    assert parse_parameters(parameters().encode() + bytes.fromhex("7f0102aabb"[:4] + "00")) == parameters()


@pytest.mark.parametrize(
    "change",
    [
        lambda encoded: encoded[10:],  # no connection id
        lambda encoded: encoded + encoded[:10],  # twice
        lambda encoded: encoded[:-1],
        lambda encoded: encoded.replace(bytes.fromhex("020101"), bytes.fromhex("020109")),
        lambda encoded: encoded.replace(bytes.fromhex("030101"), bytes.fromhex("030100")),
    ],
)
def test_bad_transport_parameters_are_refused(change: object) -> None:
    assert callable(change)
    with pytest.raises(RemoteProtocolError):
        parse_parameters(change(parameters().encode()))
