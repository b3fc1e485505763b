"""Cookies: who repeats one receives at the address it sends from (SPEC 3.4).

A responder under load keeps nothing of an INITIATION but gives this away; what comes back costs one hash
to check, and no key exchange.
"""

from __future__ import annotations

import hashlib
import hmac
from random import Random

from node.protocol.datagrams import SocketAddress
from node.protocol.secrets import RotatingSecret
from node.protocol.time import SECOND, Duration, Instant
from node.protocol.wire.setup import COOKIE_BYTES, SetupPacket

#: SPEC 3.4-3: a secret makes cookies for this long, and verifies them for as long again.
SECRET_LIFETIME: Duration = 60 * SECOND


class Cookies:
    """Makes and verifies the cookies of one endpoint.

    Args:
        rng: where the secrets come from, once they are needed.
    """

    def __init__(self, rng: Random) -> None:
        self._secret = RotatingSecret(rng, lifetime=SECRET_LIFETIME)

    def make(self, packet: SetupPacket, source: SocketAddress, *, now: Instant) -> bytes:
        """Return the cookie for an INITIATION from ``source``."""
        return _mac(self._secret.all(now)[0], packet, source)

    def verifies(self, packet: SetupPacket, source: SocketAddress, *, now: Instant) -> bool:
        """Whether an INITIATION carries a cookie that was made for it and is not too old."""
        return any(
            hmac.compare_digest(_mac(secret, packet, source), packet.cookie)
            for secret in self._secret.all(now)
        )


def _mac(secret: bytes, packet: SetupPacket, source: SocketAddress) -> bytes:
    """SPEC 3.4-2: for this INITIATION, from there."""
    claimed = packet.source_address.to_bytes(8, "big") + packet.source_connection_id
    where = f"{source[0]} {source[1]}".encode()
    return hashlib.blake2s(claimed + where, key=secret, digest_size=COOKIE_BYTES).digest()
