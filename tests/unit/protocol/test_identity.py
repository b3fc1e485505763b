"""Who a node is."""

from __future__ import annotations

import hashlib

from node.protocol.identity import Identity, Peer

# RFC 7748 §6.1: Alice's keys
PRIVATE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")


def test_an_address_is_the_first_eight_bytes_of_the_keys_sha_256() -> None:
    """SPEC 2-1."""
    identity = Identity(PRIVATE)
    assert identity.public_key == PUBLIC
    assert identity.address == int(hashlib.sha256(PUBLIC).hexdigest()[:16], 16)
    assert Peer(PUBLIC, ("there", 1)).address == identity.address


def test_a_private_key_is_not_shown() -> None:
    assert PRIVATE.hex()[:8] not in repr(Identity(PRIVATE))
    assert repr(PRIVATE)[2:10] not in repr(Identity(PRIVATE))
