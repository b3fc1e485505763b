"""Stateless resets, read from SPEC 4.3 a second time."""

from __future__ import annotations

import hashlib
import hmac

STATELESS_RESET = 0x42
RESET_BYTES = 25


def derive_token(private_key: bytes, connection_id: bytes) -> bytes:
    """Return the token of a connection ID (SPEC 4.3-1); HKDF written out."""
    extracted = hmac.digest(bytes(32), private_key, hashlib.sha256)
    key = hmac.digest(extracted, b"strait stateless reset" + b"\x01", hashlib.sha256)
    return hmac.digest(key, connection_id, hashlib.sha256)[:16]
