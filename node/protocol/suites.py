"""The suites of set-up: a Noise pattern, a cipher with its hash, and maybe a post-quantum part (SPEC 3.3).

A suite is one byte in the header of every set-up packet, and the name of a Noise protocol in the handshake:
who changes the byte changes the name, and with it every key.
"""

from __future__ import annotations

from dataclasses import dataclass

HANDSHAKE_CODES = {"ik": 0x01, "xx": 0x02, "ik-psk2": 0x03}
CIPHER_CODES = {"aes-gcm": 0x00, "chacha20-poly1305": 0x10}
_POST_QUANTUM = 0x80
_PATTERNS = {"ik": ("IK", ()), "xx": ("XX", ()), "ik-psk2": ("IK", ("psk2",))}
_CIPHERS = {"aes-gcm": "AESGCM_SHA256", "chacha20-poly1305": "ChaChaPoly_BLAKE2s"}
#: SPEC 3-1, 3.3-4: a set-up packet is always exactly this long; with ML-KEM's key or ciphertext, this long.
SETUP_BYTES = 1200
POST_QUANTUM_SETUP_BYTES = 1452


@dataclass(frozen=True, slots=True)
class Suite:
    """One choice of each."""

    handshake: str
    cipher: str
    post_quantum: bool = False

    @property
    def code(self) -> int:
        """The byte of the header."""
        hybrid = _POST_QUANTUM if self.post_quantum else 0
        return HANDSHAKE_CODES[self.handshake] | CIPHER_CODES[self.cipher] | hybrid

    @property
    def name(self) -> str:
        """How a Configuration calls it: ``ik/aes-gcm``, ``xx/chacha20-poly1305/ml-kem-768``."""
        return f"{self.handshake}/{self.cipher}" + ("/ml-kem-768" if self.post_quantum else "")

    @property
    def protocol_name(self) -> str:
        """The name of the Noise protocol (SPEC 3.3-1)."""
        pattern, modifiers = _PATTERNS[self.handshake]
        curve = "25519"
        if self.post_quantum:
            modifiers, curve = ("hfs", *modifiers), "25519+MLKEM768"
        return f"Noise_{pattern}{'+'.join(modifiers)}_{curve}_{_CIPHERS[self.cipher]}"

    @property
    def hash_name(self) -> str:
        """The hash, as ``hashlib`` calls it."""
        return _CIPHERS[self.cipher].partition("_")[2].lower()

    @property
    def packet_bytes(self) -> int:
        """The length of a padded set-up packet."""
        return POST_QUANTUM_SETUP_BYTES if self.post_quantum else SETUP_BYTES

    @property
    def has_three_messages(self) -> bool:
        """Whether the initiator proves who it is in a third message, COMPLETION, and no sooner."""
        return self.handshake == "xx"


#: All there are, by the byte of the header.
SUITES: dict[int, Suite] = {
    suite.code: suite
    for post_quantum in (False, True)
    for handshake in HANDSHAKE_CODES
    for cipher in CIPHER_CODES
    for suite in (Suite(handshake, cipher, post_quantum),)
}
SUITE_NAMES = tuple(suite.name for suite in SUITES.values())
