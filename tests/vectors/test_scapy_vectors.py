"""The scapy layer against the wire vectors, both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node.dissectors import protection
from node.dissectors.reset import derive_token
from node.dissectors.scapy_layer import (
    Ack,
    Close,
    Data,
    Early,
    FecRepair,
    Frames,
    MalformedError,
    MaxStreams,
    NewTicket,
    Padding,
    Sealed,
    SealedFragment,
    SetUp,
    StatelessReset,
    Strait,
    Stream,
    dissect_frames,
    protect,
    unprotect,
    unseal,
)
from node.protocol.identity import Identity
from tests.vectors import strait

HERE = Path(__file__).parent


def _load(name: str) -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads((HERE / name).read_text(encoding="utf-8"))
    return vectors


def _label(vector: dict[str, Any]) -> str:
    return f"{vector.get('name', vector.get('profile', vector.get('type')))}-{vector['wire'][:16]}"


@pytest.mark.parametrize("name", ["frames.json", "data.json", "setup.json", "sealed.json", "reset.json"])
def test_vectors_are_what_their_generator_makes(name: str) -> None:
    assert (HERE / name).read_text(encoding="utf-8") == strait.texts()[name]


@pytest.mark.parametrize("vector", _load("frames.json"), ids=_label)
def test_frame_dissects_to_its_fields_and_builds_to_its_bytes(vector: dict[str, Any]) -> None:
    wire = bytes.fromhex(vector["wire"])
    (frame,) = dissect_frames(wire)
    assert frame.name == vector["name"]
    assert frame.type == vector["type"]
    for name, value in vector["fields"].items():
        assert _field(frame, name) == value
    rebuilt = type(frame)(**{field: frame.fields[field] for field in frame.fields if "length" not in field})
    assert bytes(rebuilt) == wire


def _field(frame: Any, name: str) -> object:
    match frame, name:
        case Ack() | FecRepair(), "intervals":
            return [list(interval) for interval in frame.intervals()]
        case Stream(), "fin":
            return frame.fin
        case _, "data" | "connection_id" | "reset_token" | "symbol" | "secret" | "ticket":
            return getattr(frame, name).hex()
        case Close(), "reason":
            return frame.reason.decode("utf-8")
        case MaxStreams(), "unidirectional":
            return frame.type == 0x13
        case _:
            return getattr(frame, name)


def test_a_run_of_padding_is_one_layer_and_all_its_bytes() -> None:
    padding, ping = dissect_frames(b"\0\0\0\x01")
    assert isinstance(padding, Padding)
    assert padding.more == 2
    assert bytes(padding) + bytes(ping) == b"\0\0\0\x01"


@pytest.mark.parametrize("vector", _load("data.json"), ids=_label)
def test_data_packet_opens_and_closes_to_the_same_bytes(vector: dict[str, Any]) -> None:
    wire, key, number = bytes.fromhex(vector["wire"]), bytes.fromhex(vector["key"]), vector["packet_number"]
    packet = Data(wire)
    assert packet.target_cid == int(vector["target_cid"], 16)
    assert packet.type == vector["type"]
    assert packet.packet_number == number & 0xFFFF_FFFF
    opened = unprotect(packet, vector["profile"], key, largest=number - 1)
    assert bytes(opened[Frames]) == bytes.fromhex(vector["payload"])
    assert protect(opened, vector["profile"], key, number=number) == wire


@pytest.mark.parametrize("vector", _load("data.json"), ids=_label)
def test_data_packet_with_any_flipped_bit_does_not_open(vector: dict[str, Any]) -> None:
    wire, key, number = bytes.fromhex(vector["wire"]), bytes.fromhex(vector["key"]), vector["packet_number"]
    open_packet = protection.opener(vector["profile"], key)
    for bit in range(8 * len(wire)):
        damaged = bytearray(wire)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(protection.TagError):
            open_packet(bytes(damaged), number)


@pytest.mark.parametrize("vector", _load("sealed.json"), ids=_label)
def test_sealed_packet_dissects_to_its_fields_and_opens(vector: dict[str, Any]) -> None:
    """SPEC 14."""
    wire = bytes.fromhex(vector["wire"])
    packet = Strait(wire)
    assert isinstance(packet, Sealed)
    assert packet.epoch.hex() == vector["epoch"]
    assert packet.packet_number == vector["packet_number"]
    assert bytes(packet) == wire
    fragment = unseal(packet, bytes.fromhex(vector["key"]))[SealedFragment]
    assert (fragment.index, fragment.count, fragment.data.hex()) == (
        vector["index"], vector["count"], vector["data"],
    )  # fmt: skip


@pytest.mark.parametrize("vector", _load("reset.json"), ids=_label)
def test_reset_dissects_to_its_fields_and_both_readings_make_its_token(vector: dict[str, Any]) -> None:
    """SPEC 4.3-1."""
    wire, private_key = bytes.fromhex(vector["wire"]), bytes.fromhex(vector["private_key"])
    packet = Strait(wire)
    assert isinstance(packet, StatelessReset)
    connection_id = packet.target_cid.to_bytes(8, "big")
    assert (connection_id.hex(), packet.token.hex()) == (vector["target_cid"], vector["token"])
    assert bytes(packet) == wire
    assert derive_token(private_key, connection_id) == packet.token
    assert Identity(private_key).reset_token(connection_id) == packet.token
    with pytest.raises(MalformedError, match="STATELESS_RESET of 26 bytes"):
        StatelessReset(wire + b"!")


def test_a_sealed_packet_of_impossible_length_is_none() -> None:
    for size in (64, 1201):
        with pytest.raises(MalformedError, match="SEALED packet of"):
            Sealed(b"\x51" + bytes(size - 1))


def test_early_packets_carry_their_senders_id() -> None:
    """SPEC 15-3: else they are as DATA packets."""
    built = protect(
        Early(source_cid=7, packet_number=3) / Frames(frames=[NewTicket(ticket=b"t")]), "aead", bytes(32)
    )
    packet = Strait(built)
    assert (type(packet), built[0], packet.source_cid) == (Early, 0xC8, 7)
    opened = unprotect(packet, "aead", bytes(32))
    assert [frame.name for frame in opened[Frames].frames] == ["NEW_TICKET"]


@pytest.mark.parametrize("vector", _load("setup.json"), ids=_label)
def test_setup_packet_dissects_to_its_fields_and_builds_to_its_bytes(vector: dict[str, Any]) -> None:
    wire, noise = bytes.fromhex(vector["wire"]), bytes.fromhex(vector["noise"])
    numbers = {
        name: int(vector[name], 16)
        for name in ("target_address", "source_address", "target_cid", "source_cid")
    }
    numbers.update({name: vector[name] for name in ("type", "version", "suite", "packet_number")})
    packet = SetUp(wire)
    assert {name: getattr(packet, name) for name in numbers} == numbers
    cookie = bytes.fromhex(vector["cookie"])
    assert (packet.cookie, packet.noise) == (cookie, noise)
    assert not any(packet.padding)
    assert bytes(SetUp(**numbers, cookie=cookie, noise=noise)) == wire
