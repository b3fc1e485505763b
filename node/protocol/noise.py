"""The Noise protocol framework, revision 34, for the 25519 patterns that Strait uses.

https://noiseprotocol.org/noise.html; section numbers in comments are its own. Written on the
primitives of ``cryptography``; no state is global, and ephemeral keys come from the caller.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from node.protocol.errors import LocalProtocolError, ProtocolError

KEY_BYTES = 32
TAG_BYTES = 16
#: §3: no message is longer.
MAX_MESSAGE = 65_535

#: §7.5, §9.4: pre-messages of initiator and responder, then the messages in turn.
PATTERNS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "NN": ("", "", ("e", "e ee")),
    "NK": ("", "s", ("e es", "e ee")),
    "KK": ("s", "s", ("e es ss", "e ee se")),
    "XX": ("", "", ("e", "e ee s es", "s se")),
    "IK": ("", "s", ("e es s ss", "e ee se")),
}


def message_patterns(pattern: str) -> tuple[str, str, list[list[str]]]:
    """Return the pre-messages and the tokens of each message of ``pattern``, psk modifier included.

    Raises:
        LocalProtocolError: there is no such pattern here.
    """
    base, _, modifier = pattern.partition("psk")
    if base not in PATTERNS or (modifier and not modifier.isdigit()):
        raise LocalProtocolError(f"no such Noise pattern: {pattern}")
    before_initiator, before_responder, texts = PATTERNS[base]
    messages = [text.split() for text in texts]
    if modifier:  # §9: psk0 opens the first message, pskN ends the Nth
        place = int(modifier)
        if place > len(messages):
            raise LocalProtocolError(f"no such Noise pattern: {pattern}")
        if place == 0:
            messages[0].insert(0, "psk")
        else:
            messages[place - 1].append("psk")
    return before_initiator, before_responder, messages


class NoiseError(ProtocolError):
    """A handshake message did not authenticate or does not fit the pattern."""


class _Aead(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class CipherState:
    """A key and a counter (§5.1)."""

    def __init__(self, cipher: str) -> None:
        self._cipher = cipher
        self._aead: _Aead | None = None
        self.key = b""
        self._nonce = 0

    def initialize_key(self, key: bytes) -> None:
        """Take a new key and count from zero."""
        self.key = key
        self._nonce = 0
        self._aead = AESGCM(key) if self._cipher == "AESGCM" else ChaCha20Poly1305(key)

    def encrypt(self, associated: bytes, plaintext: bytes) -> bytes:
        """Encrypt, or return the plaintext while there is no key."""
        if self._aead is None:
            return plaintext
        return self._aead.encrypt(self._next_nonce(), plaintext, associated)

    def decrypt(self, associated: bytes, ciphertext: bytes) -> bytes:
        """Decrypt, or return the ciphertext while there is no key.

        Raises:
            NoiseError: it does not authenticate.
        """
        if self._aead is None:
            return ciphertext
        try:
            return self._aead.decrypt(self._next_nonce(), ciphertext, associated)
        except InvalidTag:
            raise NoiseError("message does not authenticate") from None

    def __deepcopy__(self, memo: object) -> CipherState:
        twin = CipherState(self._cipher)
        if self.key:  # the primitive itself cannot be copied
            twin.initialize_key(self.key)
        twin._nonce = self._nonce
        return twin

    def _next_nonce(self) -> bytes:
        number, self._nonce = self._nonce, self._nonce + 1
        if self._cipher == "AESGCM":  # §12.4: big-endian
            return number.to_bytes(12, "big")
        return bytes(4) + number.to_bytes(8, "little")  # §12.3


class _SymmetricState:
    """Chaining key and transcript hash (§5.2)."""

    def __init__(self, protocol_name: str, cipher: str, hash_name: str) -> None:
        self._hash_name = {"SHA256": "sha256", "BLAKE2s": "blake2s"}[hash_name]
        name = protocol_name.encode()
        self.h = name.ljust(32, b"\x00") if len(name) <= 32 else self._hash(name)
        self._ck = self.h
        self._cipher_name = cipher
        self._cipher = CipherState(cipher)

    def mix_key(self, material: bytes) -> None:
        self._ck, key = self._hkdf(material, 2)
        self._cipher.initialize_key(key)

    def mix_hash(self, data: bytes) -> None:
        self.h = self._hash(self.h + data)

    def mix_key_and_hash(self, material: bytes) -> None:
        self._ck, to_hash, key = self._hkdf(material, 3)
        self.mix_hash(to_hash)
        self._cipher.initialize_key(key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = self._cipher.encrypt(self.h, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = self._cipher.decrypt(self.h, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    @property
    def has_key(self) -> bool:
        return bool(self._cipher.key)

    def split(self) -> tuple[CipherState, CipherState]:
        first, second = self._hkdf(b"", 2)
        states = CipherState(self._cipher_name), CipherState(self._cipher_name)
        states[0].initialize_key(first)
        states[1].initialize_key(second)
        return states

    def _hash(self, data: bytes) -> bytes:
        return hashlib.new(self._hash_name, data).digest()

    def _hkdf(self, material: bytes, outputs: int) -> list[bytes]:
        """§4.3: HKDF with the chaining key as salt and no info."""
        secret = hmac.digest(self._ck, material, self._hash_name)
        found, last = [], b""
        for index in range(1, outputs + 1):
            last = hmac.digest(secret, last + bytes((index,)), self._hash_name)
            found.append(last)
        return found


class Handshake:
    """One side of a handshake (HandshakeState, §5.3).

    Args:
        protocol_name: such as ``Noise_IK_25519_AESGCM_SHA256``.
        initiator: whether this side sends the first message.
        prologue: what both sides must agree on.
        static: our private key, 32 bytes, where the pattern needs one.
        ephemeral: a fresh private key, 32 random bytes, never used again.
        remote_static: the peer's public key, where it is known beforehand.
        psk: the pre-shared key, 32 bytes, of a psk pattern.
    """

    def __init__(
        self,
        protocol_name: str,
        *,
        initiator: bool,
        prologue: bytes,
        ephemeral: bytes,
        static: bytes = b"",
        remote_static: bytes = b"",
        psk: bytes = b"",
    ) -> None:
        _, pattern, curve, cipher, hash_name = protocol_name.split("_")
        before_initiator, before_responder, self._messages = message_patterns(pattern)
        if curve != "25519":
            raise LocalProtocolError(f"no such Noise protocol: {protocol_name}")
        self._initiator = initiator
        self._static, self._ephemeral = static, ephemeral
        self.remote_static = remote_static
        self._remote_ephemeral = b""
        self._psk = psk
        self._symmetric = _SymmetricState(protocol_name, cipher, hash_name)
        self._symmetric.mix_hash(prologue)
        self._has_psk = "psk" in pattern
        for tokens, ours in ((before_initiator, initiator), (before_responder, not initiator)):
            for _ in tokens.split():
                self._symmetric.mix_hash(_public(static) if ours else remote_static)

    def write_message(self, payload: bytes) -> bytes:
        """Return our next message with ``payload`` in it."""
        out = bytearray()
        for token in self._messages.pop(0):
            if token == "e":
                public = _public(self._ephemeral)
                out += public
                self._symmetric.mix_hash(public)
                if self._has_psk:
                    self._symmetric.mix_key(public)
            elif token == "s":
                out += self._symmetric.encrypt_and_hash(_public(self._static))
            else:
                self._mix(token)
        out += self._symmetric.encrypt_and_hash(payload)
        return bytes(out)

    def read_message(self, message: bytes) -> bytes:
        """Take the peer's next message and return its payload.

        Raises:
            NoiseError: it is too short or does not authenticate. The handshake is over then.
        """
        position = 0
        for token in self._messages.pop(0):
            if token == "e":
                self._remote_ephemeral, position = _take(message, position, KEY_BYTES)
                self._symmetric.mix_hash(self._remote_ephemeral)
                if self._has_psk:
                    self._symmetric.mix_key(self._remote_ephemeral)
            elif token == "s":
                length = KEY_BYTES + (TAG_BYTES if self._symmetric.has_key else 0)
                sealed, position = _take(message, position, length)
                self.remote_static = self._symmetric.decrypt_and_hash(sealed)
            else:
                self._mix(token)
        return self._symmetric.decrypt_and_hash(message[position:])

    def copy(self) -> Handshake:
        """Return an independent copy: reading a forged message then costs the original nothing."""
        return copy.deepcopy(self)

    def split(self) -> tuple[CipherState, CipherState]:
        """Return the states for initiator → responder and responder → initiator."""
        assert not self._messages
        return self._symmetric.split()

    @property
    def hash(self) -> bytes:
        """The handshake hash h, for channel binding (§11.2)."""
        return self._symmetric.h

    def _mix(self, token: str) -> None:
        if token == "psk":
            self._symmetric.mix_key_and_hash(self._psk)
            return
        # "es" is the initiator's ephemeral with the responder's static, whichever side we are.
        ours, theirs = (0, 1) if self._initiator else (1, 0)
        first, second = token[ours], token[theirs]
        private = self._ephemeral if first == "e" else self._static
        public = self._remote_ephemeral if second == "e" else self.remote_static
        self._symmetric.mix_key(_diffie_hellman(private, public))


def _public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def _diffie_hellman(private: bytes, public: bytes) -> bytes:
    try:
        ours = X25519PrivateKey.from_private_bytes(private)
        return ours.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:  # a point of low order: all zero
        raise NoiseError("unusable public key") from None


def _take(message: bytes, position: int, length: int) -> tuple[bytes, int]:
    end = position + length
    if end > len(message):
        raise NoiseError("message too short")
    return message[position:end], end
