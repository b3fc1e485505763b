"""ML-KEM-768 (FIPS 203) as Noise's hfs patterns use it (SPEC 3.3-3).

Needs ``cryptography`` 47 or newer, built on a library that has the algorithm; all else of Strait does not.
"""

from __future__ import annotations

import functools
from random import Random

from cryptography.exceptions import UnsupportedAlgorithm

from node.protocol.noise import NoiseError

try:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
except ImportError:  # older than 47
    _IS_THERE = False
else:
    _IS_THERE = True

SEED_BYTES = 64


@functools.cache
def has_ml_kem() -> bool:
    """Whether the installed ``cryptography`` has ML-KEM-768."""
    if not _IS_THERE:
        return False
    try:
        MLKEM768PrivateKey.from_seed_bytes(bytes(SEED_BYTES))
    except UnsupportedAlgorithm:
        return False
    return True


class MlKem768:
    """One side's key pair for one handshake; the key is made when it is first asked for.

    Args:
        rng: where the seed comes from. The encapsulated secret comes from the operating system, since
            ``cryptography`` takes no randomness for it: a simulation's bytes differ, its course does not.
    """

    name = "MLKEM768"
    key_bytes = 1184
    ciphertext_bytes = 1088

    def __init__(self, rng: Random) -> None:
        self._seed = rng.randbytes(SEED_BYTES)

    def public_key(self) -> bytes:
        """Return the encapsulation key."""
        return MLKEM768PrivateKey.from_seed_bytes(self._seed).public_key().public_bytes_raw()

    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        """Return a fresh secret and its ciphertext (NoiseError: not a key, FIPS 203 §7.2)."""
        try:
            return MLKEM768PublicKey.from_public_bytes(public_key).encapsulate()
        except ValueError:
            raise NoiseError("unusable public key") from None

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the secret in ``ciphertext``."""
        return MLKEM768PrivateKey.from_seed_bytes(self._seed).decapsulate(ciphertext)
