"""Noise against known vectors (revision 34), and against itself with damage."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from node.protocol.errors import LocalProtocolError
from node.protocol.identity import Identity
from node.protocol.ml_kem import MlKem768, has_ml_kem
from node.protocol.noise import PATTERNS, CipherState, Handshake, NoiseError, message_patterns

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "noise.json").read_text())["vectors"]


def side(vector: dict[str, Any], prefix: str) -> Handshake:
    def raw(name: str) -> bytes:
        return bytes.fromhex(vector.get(f"{prefix}_{name}") or "")

    return Handshake(
        vector["protocol_name"],
        initiator=prefix == "init",
        prologue=raw("prologue"),
        static=raw("static"),
        ephemeral=raw("ephemeral"),
        remote_static=raw("remote_static"),
        psks=[bytes.fromhex(psk) for psk in vector.get(f"{prefix}_psks") or []],
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


def made(pattern: str, *, initiator: bool, kem: MlKem768 | None = None) -> Handshake:
    """A side of any pattern, with keys that follow from the pattern's name."""
    statics = [Random(f"{pattern}/{side}").randbytes(32) for side in ("initiator", "responder")]
    ours, theirs = statics if initiator else statics[::-1]
    known_before = message_patterns(pattern)[1 if initiator else 0]
    curve = "25519" if kem is None else "25519+MLKEM768"
    return Handshake(
        f"Noise_{pattern}_{curve}_ChaChaPoly_BLAKE2s",
        initiator=initiator,
        prologue=b"before",
        static=ours,
        ephemeral=Random(f"{pattern}/{initiator}/e").randbytes(32),
        remote_static=Identity(theirs).public_key if known_before else b"",
        psks=[bytes((place,)) * 32 for place in range(pattern.count("psk"))],
        kem=kem,
    )


FUNDAMENTAL = [pattern for pattern in PATTERNS if len(pattern) == 2]


@pytest.mark.parametrize(
    "pattern",
    [
        *PATTERNS,
        *(f"{p}psk{n}" for p in FUNDAMENTAL for n in range(3)),
        "XXpsk3",
        "NNpsk0+psk2",
    ],
)
def test_every_pattern_ends_with_the_same_keys_on_both_sides(pattern: str) -> None:
    initiator, responder = made(pattern, initiator=True), made(pattern, initiator=False)
    writer, reader = initiator, responder
    for index in range(len(message_patterns(pattern)[2])):
        assert reader.read_message(writer.write_message(bytes((index,)))) == bytes((index,))
        writer, reader = reader, writer
    assert initiator.hash == responder.hash
    ours, theirs = initiator.split(), responder.split()
    assert [state.key for state in ours] == [state.key for state in theirs]
    assert ours[0].key != ours[1].key


@pytest.mark.parametrize("pattern", ["XY", "NNpsk3", "Npsk2", "Nhfs", "IKfallback", "ik", ""])
def test_a_pattern_that_is_not_there_is_refused(pattern: str) -> None:
    with pytest.raises(LocalProtocolError, match="no such Noise pattern"):
        message_patterns(pattern)


@pytest.mark.parametrize(
    "name",
    ["Noise_NN_448_AESGCM_SHA256", "Noise_NN_25519_AES_SHA256", "Noise_NN_25519_AESGCM_MD5",
     "Noise_NN_25519+MLKEM768_AESGCM_SHA256"],
)  # fmt: skip
def test_a_protocol_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(LocalProtocolError, match="no such Noise protocol"):
        Handshake(name, initiator=True, prologue=b"", ephemeral=bytes(32))


HYBRID = json.loads((Path(__file__).parents[2] / "vectors" / "noise_hybrid.json").read_text())


@pytest.mark.parametrize("pattern", ["IKhfs", "XXhfs", "IKhfs+psk2"])
def test_the_kem_is_mixed_into_every_later_key(pattern: str) -> None:
    """SPEC 3.3-3: a changed ciphertext of the KEM leaves no key in common."""
    initiator = made(pattern, initiator=True, kem=MlKem768(Random(1)))
    responder = made(pattern, initiator=False, kem=MlKem768(Random(2)))
    first = initiator.write_message(b"ask")
    assert len(first) >= 32 + 1184
    assert responder.read_message(first) == b"ask"
    second = responder.write_message(b"answer")
    for place in (32, 32 + 1088 + 15, -1):
        changed = bytearray(second)
        changed[place] ^= 1
        with pytest.raises(NoiseError):
            initiator.copy().read_message(bytes(changed))
    assert initiator.read_message(second) == b"answer"


@pytest.mark.skipif(not has_ml_kem(), reason="needs cryptography 47 or newer")
@pytest.mark.parametrize("vector", HYBRID, ids=[v["protocol_name"] for v in HYBRID])
def test_a_hybrid_initiator_matches_the_vector(vector: dict[str, Any]) -> None:
    """SPEC 3.3-3: the encapsulation is random, so the responder's message is given."""
    initiator = Handshake(
        vector["protocol_name"],
        initiator=True,
        prologue=bytes.fromhex(vector["prologue"]),
        static=bytes.fromhex(vector["init_static"]),
        ephemeral=bytes.fromhex(vector["init_ephemeral"]),
        remote_static=bytes.fromhex(vector["init_remote_static"]),
        psks=[bytes.fromhex(psk) for psk in vector["psks"]],
        kem=MlKem768(Seeded(bytes.fromhex(vector["init_kem_seed"]))),
    )
    for index, message in enumerate(vector["messages"]):
        payload, wire = bytes.fromhex(message["payload"]), bytes.fromhex(message["message"])
        if index % 2:
            assert initiator.read_message(wire) == payload
        else:
            assert initiator.write_message(payload) == wire
    assert initiator.hash.hex() == vector["handshake_hash"]
    assert [state.key.hex() for state in initiator.split()] == vector["keys"]


class Seeded(Random):
    """Gives the bytes it was made with."""

    def __init__(self, given: bytes) -> None:
        super().__init__(0)
        self._given = given

    def randbytes(self, n: int) -> bytes:
        assert n == len(self._given)
        return self._given


def test_a_kem_key_that_is_none_is_refused() -> None:
    """FIPS 203 §7.2: coefficients are below q."""
    initiator = made("XXhfs", initiator=True, kem=MlKem768(Random(1)))
    responder = made("XXhfs", initiator=False, kem=MlKem768(Random(2)))
    first = initiator.write_message(b"")
    responder.read_message(first[:32] + b"\xff" * 1184 + first[32 + 1184 :])
    with pytest.raises(NoiseError):
        responder.write_message(b"")
