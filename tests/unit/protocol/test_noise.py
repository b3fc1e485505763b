"""Noise against known vectors (revision 34), and against itself with damage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node.protocol.noise import CipherState, Handshake, NoiseError, message_patterns

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "noise.json").read_text())["vectors"]


def side(vector: dict[str, Any], prefix: str) -> Handshake:
    def raw(name: str) -> bytes:
        return bytes.fromhex(vector.get(f"{prefix}_{name}") or "")

    psks = vector.get(f"{prefix}_psks") or [""]
    return Handshake(
        vector["protocol_name"],
        initiator=prefix == "init",
        prologue=raw("prologue"),
        static=raw("static"),
        ephemeral=raw("ephemeral"),
        remote_static=raw("remote_static"),
        psk=bytes.fromhex(psks[0]),
    )


@pytest.mark.parametrize("vector", VECTORS, ids=[v["protocol_name"] for v in VECTORS])
def test_every_message_matches_the_vector(vector: dict[str, Any]) -> None:
    initiator, responder = side(vector, "init"), side(vector, "resp")
    handshake_messages = len(message_patterns(vector["protocol_name"].split("_")[1])[2])
    writer, reader = initiator, responder
    states: list[tuple[CipherState, CipherState]] = []
    for index, message in enumerate(vector["messages"]):
        payload, expected = bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"])
        if index < handshake_messages:
            assert writer.write_message(payload) == expected
            assert reader.read_message(expected) == payload
            writer, reader = reader, writer
            if index == handshake_messages - 1:
                states = [initiator.split(), responder.split()]
            continue
        assert initiator.hash == responder.hash
        ours, theirs = states[0], states[1]
        # Transport messages go on in turns, starting with whoever the handshake left to write.
        assert ours[index % 2].encrypt(b"", payload) == expected
        assert theirs[index % 2].decrypt(b"", expected) == payload


@pytest.mark.parametrize("position", [0, 31, 32, 60, 90, -1])
def test_a_flipped_bit_anywhere_is_refused(position: int) -> None:
    vector = next(v for v in VECTORS if v["protocol_name"] == "Noise_IK_25519_AESGCM_SHA256")
    message = bytearray(side(vector, "init").write_message(b"hello"))
    message[position] ^= 1
    with pytest.raises(NoiseError):
        side(vector, "resp").read_message(bytes(message))


@pytest.mark.parametrize("length", [0, 31, 32, 79, 80, 95])
def test_a_truncated_message_is_refused(length: int) -> None:
    vector = next(v for v in VECTORS if v["protocol_name"] == "Noise_IK_25519_AESGCM_SHA256")
    message = side(vector, "init").write_message(b"")
    with pytest.raises(NoiseError):
        side(vector, "resp").read_message(message[:length])


def test_a_public_key_of_low_order_is_refused() -> None:
    vector = next(v for v in VECTORS if v["protocol_name"] == "Noise_IK_25519_AESGCM_SHA256")
    message = bytes(32) + side(vector, "init").write_message(b"")[32:]
    with pytest.raises(NoiseError):
        side(vector, "resp").read_message(message)
