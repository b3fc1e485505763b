"""Makes noise_hybrid.json from SPEC 3.3 by the simplest code there is, sharing none with node.protocol.noise.

``python -m tests.vectors.noise_hybrid`` writes it anew. ML-KEM's encapsulation is random, so every run makes
another file, and each is a known answer for an initiator whose secrets are in it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

HERE = Path(__file__).parent
PROTOCOLS = {
    "Noise_IKhfs_25519+MLKEM768_AESGCM_SHA256": ("s_r", "e e1 es s ss", "e ee ekem1 se"),
    "Noise_XXhfs_25519+MLKEM768_AESGCM_SHA256": ("", "e e1", "e ee ekem1 s es", "s se"),
    "Noise_IKhfs+psk2_25519+MLKEM768_ChaChaPoly_BLAKE2s": ("s_r", "e e1 es s ss", "e ee ekem1 se psk"),
}
PROLOGUE = b"Strait hybrid"
PSK = bytes(range(0x50, 0x70))
SECRETS = {"e_i": bytes([1]) * 32, "s_i": bytes([2]) * 32, "e_r": bytes([3]) * 32, "s_r": bytes([4]) * 32}
KEM_SEED = bytes(range(64))


def public(name: str) -> bytes:
    """The public key of a secret."""
    return X25519PrivateKey.from_private_bytes(SECRETS[name]).public_key().public_bytes_raw()


class State:
    """Both sides at once: chaining key, hash, key and nonce."""

    def __init__(self, protocol: str) -> None:
        self.hash = "sha256" if protocol.endswith("SHA256") else "blake2s"
        self.h = hashlib.new(self.hash, protocol.encode()).digest()
        self.ck, self.key, self.nonce = self.h, b"", 0
        self.mix_hash(PROLOGUE)

    def mix_hash(self, data: bytes) -> None:
        """MixHash."""
        self.h = hashlib.new(self.hash, self.h + data).digest()

    def expand(self, material: bytes, count: int) -> list[bytes]:
        """HKDF of the chaining key."""
        secret, found = hmac.digest(self.ck, material, self.hash), [b""]
        for number in range(1, count + 1):
            found.append(hmac.digest(secret, found[-1] + bytes([number]), self.hash))
        return found[1:]

    def mix_key(self, material: bytes) -> None:
        """MixKey."""
        (self.ck, self.key), self.nonce = self.expand(material, 2), 0

    def encrypt(self, plain: bytes) -> bytes:
        """EncryptAndHash."""
        sealed = plain
        if self.key:
            number = self.nonce.to_bytes(8, "big" if self.hash == "sha256" else "little")
            cipher = AESGCM(self.key) if self.hash == "sha256" else ChaCha20Poly1305(self.key)
            sealed, self.nonce = cipher.encrypt(bytes(4) + number, plain, self.h), self.nonce + 1
        self.mix_hash(sealed)
        return sealed


def vector(protocol: str, before: str, messages: list[str]) -> dict[str, Any]:
    """One handshake, from both sides' secrets."""
    state, kem = State(protocol), MLKEM768PrivateKey.from_seed_bytes(KEM_SEED)
    if before:
        state.mix_hash(public(before))
    made = []
    for index, tokens in enumerate(messages):
        side, wire = "ir"[index % 2], b""
        for token in tokens.split():
            if token == "e":
                wire += public(f"e_{side}")
                state.mix_hash(public(f"e_{side}"))
                if "psk" in protocol:
                    state.mix_key(public(f"e_{side}"))
            elif token == "s":
                wire += state.encrypt(public(f"s_{side}"))
            elif token == "e1":
                wire += state.encrypt(kem.public_key().public_bytes_raw())
            elif token == "ekem1":
                secret, ciphertext = kem.public_key().encapsulate()
                wire += state.encrypt(ciphertext)
                state.mix_key(secret)
            elif token == "psk":
                state.ck, to_hash, key = state.expand(PSK, 3)
                state.mix_hash(to_hash)
                state.key, state.nonce = key, 0
            else:
                ours = X25519PrivateKey.from_private_bytes(SECRETS[f"{token[0]}_i"])
                theirs = X25519PublicKey.from_public_bytes(public(f"{token[1]}_r"))
                state.mix_key(ours.exchange(theirs))
        payload = f"payload {index}".encode()
        wire += state.encrypt(payload)
        made.append({"payload": payload.hex(), "message": wire.hex()})
    return {
        "protocol_name": protocol,
        "prologue": PROLOGUE.hex(),
        "init_static": SECRETS["s_i"].hex(),
        "init_ephemeral": SECRETS["e_i"].hex(),
        "init_kem_seed": KEM_SEED.hex(),
        "init_remote_static": public("s_r").hex() if before else "",
        "psks": [PSK.hex()] if "psk" in protocol else [],
        "messages": made,
        "handshake_hash": state.h.hex(),
        "keys": [key.hex() for key in state.expand(b"", 2)],
    }


if __name__ == "__main__":
    vectors = [vector(protocol, before, messages) for protocol, (before, *messages) in PROTOCOLS.items()]
    (HERE / "noise_hybrid.json").write_text(json.dumps(vectors, indent=1) + "\n", encoding="utf-8")
