"""Who a node is: an X25519 key pair, and the address that follows from it (SPEC 2)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from node.protocol.datagrams import SocketAddress
from node.protocol.errors import LocalProtocolError

ADDRESS_BYTES = 8
PSK_BYTES = 32
RESET_TOKEN_BYTES = 16
RESET_LABEL = b"strait stateless reset"


def address_of(public_key: bytes) -> int:
    """Return the 64-bit node address of a public key (SPEC 2-1): SHA-256, first eight bytes."""
    return int.from_bytes(hashlib.sha256(public_key).digest()[:ADDRESS_BYTES], "big")


def _reset_key(private_key: bytes) -> bytes:
    """Return what all reset tokens of a node are made with: whoever has them cannot make others."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=RESET_LABEL).derive(private_key)


@dataclass(frozen=True, slots=True)
class Identity:
    """A node's static key pair.

    Args:
        private_key: 32 raw bytes of an X25519 private key.
    """

    private_key: bytes = field(repr=False)
    public_key: bytes = field(init=False)
    address: int = field(init=False)
    _reset_key: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        public = X25519PrivateKey.from_private_bytes(self.private_key).public_key()
        object.__setattr__(self, "public_key", public.public_bytes_raw())
        object.__setattr__(self, "address", address_of(self.public_key))
        object.__setattr__(self, "_reset_key", _reset_key(self.private_key))

    def reset_token(self, connection_id: bytes) -> bytes:
        """Return what proves a STATELESS_RESET of a connection ID that this node issued (SPEC 4.3-1)."""
        return hmac.digest(self._reset_key, connection_id, "sha256")[:RESET_TOKEN_BYTES]


@dataclass(frozen=True, slots=True)
class Peer:
    """A node we may connect to: its public key (and so its address), and where its socket is."""

    #: 32 raw bytes of the peer's X25519 public key; empty: only its address is known.
    public_key: bytes
    #: UDP address of the peer's socket.
    socket_address: SocketAddress
    #: 32 bytes that only the two nodes know, mixed into what they share; empty: none.
    psk: bytes = field(default=b"", repr=False)
    #: The address of a peer whose key is not known: the ``xx`` handshake asks for the key and checks it.
    known_address: int = 0

    def __post_init__(self) -> None:
        if len(self.psk) not in (0, PSK_BYTES):
            raise LocalProtocolError(f"psk: found {len(self.psk)} bytes, must be {PSK_BYTES} or none")

    @property
    def address(self) -> int:
        """The peer's 64-bit node address."""
        return address_of(self.public_key) if self.public_key else self.known_address
