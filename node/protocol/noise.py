"""The Noise protocol framework, revision 34, for the 25519 patterns that Strait uses.

https://noiseprotocol.org/noise.html; section numbers in comments are its own. Written on the
primitives of ``cryptography``; no state is global, and ephemeral keys come from the caller.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from node.protocol.errors import LocalProtocolError, ProtocolError

KEY_BYTES = 32
TAG_BYTES = 16

#: §7.4, §7.5: pre-messages of initiator and responder, then the messages in turn.
PATTERNS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "N": ("", "s", ("e es",)),
    "K": ("s", "s", ("e es ss",)),
    "X": ("", "s", ("e es s ss",)),
    "NN": ("", "", ("e", "e ee")),
    "NK": ("", "s", ("e es", "e ee")),
    "NX": ("", "", ("e", "e ee s es")),
    "KN": ("s", "", ("e", "e ee se")),
    "KK": ("s", "s", ("e es ss", "e ee se")),
    "KX": ("s", "", ("e", "e ee se s es")),
    "XN": ("", "", ("e", "e ee", "s se")),
    "XK": ("", "s", ("e es", "e ee", "s se")),
    "XX": ("", "", ("e", "e ee s es", "s se")),
    "IN": ("", "", ("e s", "e ee se")),
    "IK": ("", "s", ("e es s ss", "e ee se")),
    "IX": ("", "", ("e s", "e ee se s es")),
}
_PATTERN_NAME = re.compile(r"([NKXI]{1,2})((?:psk[0-9]|hfs)(?:\+(?:psk[0-9]|hfs))*)?")
_HASHES = {"SHA256": "sha256", "SHA512": "sha512", "BLAKE2s": "blake2s", "BLAKE2b": "blake2b"}
_CIPHERS = ("AESGCM", "ChaChaPoly")


def message_patterns(pattern: str) -> tuple[str, str, list[list[str]]]:
    """Return the pre-messages and the tokens of each message of ``pattern``, modifiers included.

    Raises:
        LocalProtocolError: there is no such pattern here.
    """
    match = _PATTERN_NAME.fullmatch(pattern)
    if match is None or match[1] not in PATTERNS:
        raise LocalProtocolError(f"no such Noise pattern: {pattern}")
    before_initiator, before_responder, texts = PATTERNS[match[1]]
    messages = [text.split() for text in texts]
    for modifier in (match[2] or "").split("+"):
        if modifier == "hfs":
            _add_kem(messages, pattern)
        elif modifier:
            _add_psk(messages, int(modifier[3:]), pattern)
    return before_initiator, before_responder, messages


def _add_psk(messages: list[list[str]], place: int, pattern: str) -> None:
    """§9.4: psk0 opens the first message, pskN ends the Nth."""
    if place > len(messages):
        raise LocalProtocolError(f"no such Noise pattern: {pattern}")
    if place == 0:
        messages[0].insert(0, "psk")
    else:
        messages[place - 1].append("psk")


def _add_kem(messages: list[list[str]], pattern: str) -> None:
    """Hybrid forward secrecy (revision 1) by a KEM: its key follows the first e, its secret the first ee."""
    if len(messages) < 2 or messages[1][:2] != ["e", "ee"]:
        raise LocalProtocolError(f"no such Noise pattern: {pattern}")
    messages[0].insert(messages[0].index("e") + 1, "e1")
    messages[1].insert(2, "ekem1")


class NoiseError(ProtocolError):
    """A handshake message did not authenticate or does not fit the pattern."""


class _Aead(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class Kem(Protocol):
    """The key encapsulation of one side of one handshake (hfs patterns)."""

    #: How a protocol's name calls it; bytes of its public key and of its ciphertext.
    name: str
    key_bytes: int
    ciphertext_bytes: int

    def public_key(self) -> bytes:
        """Return the key to send."""
        ...

    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        """Return a fresh secret, and the ciphertext that carries it to the owner of ``public_key``.

        Raises:
            NoiseError: it is no public key.
        """
        ...

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the secret in ``ciphertext``: another one, and no error, if it was changed."""
        ...


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
        self._hash_name = _HASHES[hash_name]
        name, size = protocol_name.encode(), hashlib.new(self._hash_name).digest_size
        self.h = name.ljust(size, b"\x00") if len(name) <= size else self._hash(name)
        self._ck = self.h
        self._cipher_name = cipher
        self._cipher = CipherState(cipher)

    def mix_key(self, material: bytes) -> None:
        self._ck, key = self._hkdf(material, 2)
        self._cipher.initialize_key(key[:KEY_BYTES])

    def mix_hash(self, data: bytes) -> None:
        self.h = self._hash(self.h + data)

    def mix_key_and_hash(self, material: bytes) -> None:
        self._ck, to_hash, key = self._hkdf(material, 3)
        self.mix_hash(to_hash)
        self._cipher.initialize_key(key[:KEY_BYTES])

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
        states[0].initialize_key(first[:KEY_BYTES])
        states[1].initialize_key(second[:KEY_BYTES])
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
        psks: the pre-shared keys, 32 bytes each, of a psk pattern, in the order of their tokens.
        kem: the key encapsulation of an hfs pattern.

    Raises:
        LocalProtocolError: there is no such protocol here.
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
        psks: Sequence[bytes] = (),
        kem: Kem | None = None,
    ) -> None:
        _, pattern, curve, cipher, hash_name = protocol_name.split("_")
        before_initiator, before_responder, self._messages = message_patterns(pattern)
        if curve != ("25519" if kem is None else f"25519+{kem.name}"):
            raise LocalProtocolError(f"no such Noise protocol: {protocol_name}")
        if cipher not in _CIPHERS or hash_name not in _HASHES:
            raise LocalProtocolError(f"no such Noise protocol: {protocol_name}")
        self._initiator = initiator
        self._static, self._ephemeral = static, ephemeral
        self.remote_static = remote_static
        self._remote_ephemeral = b""
        self._psks = list(psks)
        self._kem, self._remote_kem_key = kem, b""
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
            elif token == "e1":
                assert self._kem is not None
                out += self._symmetric.encrypt_and_hash(self._kem.public_key())
            elif token == "ekem1":
                assert self._kem is not None
                secret, ciphertext = self._kem.encapsulate(self._remote_kem_key)
                out += self._symmetric.encrypt_and_hash(ciphertext)
                self._symmetric.mix_key(secret)
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
                self.remote_static, position = self._take_sealed(message, position, KEY_BYTES)
            elif token == "e1":
                assert self._kem is not None
                key, position = self._take_sealed(message, position, self._kem.key_bytes)
                self._remote_kem_key = key
            elif token == "ekem1":
                assert self._kem is not None
                ciphertext, position = self._take_sealed(message, position, self._kem.ciphertext_bytes)
                self._symmetric.mix_key(self._kem.decapsulate(ciphertext))
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

    def _take_sealed(self, message: bytes, position: int, length: int) -> tuple[bytes, int]:
        length += TAG_BYTES if self._symmetric.has_key else 0
        sealed, position = _take(message, position, length)
        return self._symmetric.decrypt_and_hash(sealed), position

    def _mix(self, token: str) -> None:
        if token == "psk":
            self._symmetric.mix_key_and_hash(self._psks.pop(0))
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
