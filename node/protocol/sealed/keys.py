"""The keys of SEALED packets (SPEC 14.1): from the two nodes' static keys, without a handshake.

So without forward secrecy (SPEC 14.1-3).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from node.protocol.errors import LocalProtocolError
from node.protocol.identity import Identity, Peer

LABEL = b"strait sealed 1"
KEY_BYTES = 32


def shared_secret(identity: Identity, peer: Peer) -> bytes:
    """Return what the two nodes share: the static-static X25519 secret, and their pre-shared key if any.

    Raises:
        LocalProtocolError: the peer's public key is none (RFC 7748 §6.1: the secret would be all zero).
    """
    private = X25519PrivateKey.from_private_bytes(identity.private_key)
    try:
        secret = private.exchange(X25519PublicKey.from_public_bytes(peer.public_key))
    except ValueError as error:
        raise LocalProtocolError(f"the public key of node {peer.address:016x} is of low order") from error
    return secret + peer.psk


def sealing_key(secret: bytes, *, epoch: bytes, source: int, target: int) -> bytes:
    """Return the key of one sender's epoch in one direction (SPEC 14.1-1)."""
    info = LABEL + source.to_bytes(8, "big") + target.to_bytes(8, "big")
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=epoch, info=info).derive(secret)
