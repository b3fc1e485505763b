"""Tickets: what lets a node send early data when it comes back (SPEC 15).

The responder keeps nothing of a ticket but, once it was used, that it was: all it must know is sealed inside.
The initiator keeps one ticket for each peer, with the limits that the peer had then.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from random import Random

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.protocol.configuration import ARQ_CODES, Configuration
from node.protocol.secrets import SECRET_BYTES, RotatingSecret
from node.protocol.suites import Suite
from node.protocol.time import SECOND, Duration, Instant
from node.protocol.wire.frames import NewTicket
from node.protocol.wire.parameters import TransportParameters

#: SPEC 15-2: a ticket is good for this long after it was given.
TICKET_LIFETIME: Duration = 3600 * SECOND
#: SPEC 15-5: tickets remembered as used: some 2 MB, and four a second.
MAX_USED_TICKETS = 16_384
#: Peers whose tickets an initiator keeps, the oldest ticket goes first.
MAX_HELD_TICKETS = 256
_NONCE_BYTES = 12
#: Expiry, secret, initiator's address, suite, ARQ mode; then the limits in the order of their parameters.
_SEALED = struct.Struct(">Q32sQBBQQII")
_ASSOCIATED = b"Strait ticket"


def allows_early_data(suite: Suite, integrity: str) -> bool:
    """Whether tickets are given and taken: where INITIATION is sealed and has room (SPEC 15-1)."""
    return suite.handshake != "xx" and not suite.post_quantum and integrity == "aead"


class TicketOffice:
    """A responder's tickets: gives them out, and takes each back once.

    Args:
        rng: secrets and nonces come from here.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._key = RotatingSecret(rng, lifetime=TICKET_LIFETIME)
        #: Nonce of a used ticket → when nobody could use it any more, in the order of their use.
        self._used: dict[bytes, Instant] = {}

    def issue(self, peer_address: int, suite: Suite, ours: TransportParameters, now: Instant) -> NewTicket:
        """Return a ticket for the initiator of a connection with these parameters of ours."""
        secret, nonce = self._rng.randbytes(SECRET_BYTES), self._rng.randbytes(_NONCE_BYTES)
        clear = _SEALED.pack(
            now + TICKET_LIFETIME, secret, peer_address, suite.code, ARQ_CODES[ours.arq], *_limits(ours)
        )
        sealed = AESGCM(self._key.all(now)[0]).encrypt(nonce, clear, _ASSOCIATED)
        return NewTicket(TICKET_LIFETIME // SECOND, secret, nonce + sealed)

    def redeem(
        self, ticket: bytes, peer_address: int, suite: Suite, *, asked: TransportParameters,
        ours: TransportParameters, now: Instant,
    ) -> bytes | str:  # fmt: skip
        """Return the secret of a ticket and never again, or why there is no early data (SPEC 15-4, 15-5)."""
        clear = self._open(ticket, now)
        if clear is None:
            return "unknown ticket"
        expires_at, secret, address, code, arq, *limits = _SEALED.unpack(clear)
        if now >= expires_at:
            return "ticket too old"
        if (address, code, arq) != (peer_address, suite.code, ARQ_CODES[asked.arq]):
            return "ticket of another connection"
        if any(present < then for present, then in zip(_limits(ours), limits, strict=True)):
            return "limits lower than the ticket's"
        self._forget_old(now)
        nonce = ticket[:_NONCE_BYTES]
        if nonce in self._used:
            return "ticket used before"
        if len(self._used) >= MAX_USED_TICKETS:
            return "too many tickets used"
        self._used[nonce] = now + TICKET_LIFETIME
        return bytes(secret)

    def _open(self, ticket: bytes, now: Instant) -> bytes | None:
        if len(ticket) != _NONCE_BYTES + _SEALED.size + 16:
            return None
        for key in self._key.all(now):
            try:
                return AESGCM(key).decrypt(ticket[:_NONCE_BYTES], ticket[_NONCE_BYTES:], _ASSOCIATED)
            except InvalidTag:
                continue
        return None

    def _forget_old(self, now: Instant) -> None:
        while self._used:
            oldest = next(iter(self._used))
            if self._used[oldest] > now:
                return
            del self._used[oldest]


@dataclass(frozen=True, slots=True)
class HeldTicket:
    """A ticket as an initiator holds it."""

    ticket: bytes = field(repr=False)
    secret: bytes = field(repr=False)
    expires_at: Instant
    suite: Suite
    #: What the responder announced on the connection that the ticket is from.
    peer: TransportParameters


class TicketWallet:
    """An initiator's tickets, one for each peer."""

    def __init__(self) -> None:
        self._held: dict[int, HeldTicket] = {}

    def keep(
        self, peer_address: int, frame: NewTicket, suite: Suite, peer: TransportParameters, *, now: Instant
    ) -> None:
        """Keep a ticket in the place of an older one of this peer."""
        self._held.pop(peer_address, None)
        if len(self._held) >= MAX_HELD_TICKETS:
            del self._held[next(iter(self._held))]
        lifetime = min(frame.lifetime * SECOND, TICKET_LIFETIME)
        self._held[peer_address] = HeldTicket(frame.ticket, frame.secret, now + lifetime, suite, peer)

    def take(self, peer_address: int, configuration: Configuration, *, now: Instant) -> HeldTicket | None:
        """Return a ticket that fits a connection to this peer, and forget it: it is good for one."""
        held = self._held.get(peer_address)
        if held is None:
            return None
        if now >= held.expires_at:
            del self._held[peer_address]
            return None
        if (held.suite, held.peer.arq) != (configuration.suite, configuration.arq):
            return None
        if configuration.integrity != "aead":
            return None
        return self._held.pop(peer_address)


def _limits(parameters: TransportParameters) -> tuple[int, int, int, int]:
    return (
        parameters.initial_max_data,
        parameters.initial_max_stream_data,
        parameters.initial_max_streams_bidi,
        parameters.initial_max_streams_uni,
    )
