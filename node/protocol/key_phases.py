"""The keys of a connection's two directions, phase by phase (SPEC 4.2; RFC 9001 §6).

    phase:      0 ──update──► 1 ──update──► 2 …          type byte: 0x41, 0x45, 0x41 …
    sending:    one key; a new phase begins with a packet number
    receiving:  previous (until 3 PTO later) · current · next (made when first asked for)

A packet whose type byte is not the current phase's is of the previous phase if its number is below
the current phase's first, else of the next: so at most one key is ever tried on it.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.time import Duration, Instant
from node.protocol.wire.data import PHASE_BIT
from node.protocol.wire.protection import AeadProtection, Decrypt, open_with

LABEL = b"strait key update"
KEY_BYTES = 32
_NEVER: Instant = 1 << 62


def next_key(key: bytes) -> bytes:
    """Return the key of the phase after ``key``'s (SPEC 4.2-2). There is no way back."""
    return HKDFExpand(algorithm=SHA256(), length=KEY_BYTES, info=LABEL).derive(key)


class KeyPhases:
    """What to seal and to open with.

    Args:
        protection: always holds the current keys; this class changes them.
        kind: the type byte of phase 0.
        packets, interval: a phase of ours lasts so many packets and so long; 0: no end by time.
    """

    def __init__(
        self, protection: AeadProtection, *, send_key: bytes, receive_key: bytes, kind: int,
        packets: int, interval: Duration,
    ) -> None:  # fmt: skip
        self._protection = protection
        self._send_key, self._receive_key = send_key, receive_key
        self._packets, self._interval = packets, interval
        #: Type bytes of the current phase, of what we send and of what we receive.
        self.send_kind = self.receive_kind = kind
        #: Phases that we have begun to send in.
        self.updates = 0
        #: From this number or time on the phase may have lasted long enough: then ``is_due`` is to be asked.
        self.due_number: int = packets
        self.due_at: Instant = 0
        #: The first packet number of the current phase of ours.
        self.first_sent = 0
        #: Whether the packet at hand was sealed in the previous phase.
        self.reading_previous = False
        #: When the previous phase's key is to be forgotten; None: there is none.
        self.previous_until: Instant | None = None
        self._first_received = 0
        #: Phases that the peer has begun to send in.
        self.received_updates = 0
        self._previous: Decrypt | None = None
        self._next: tuple[bytes, Decrypt] | None = None
        self._began: Instant | None = None
        #: Whether the peer's last update has not been acknowledged yet.
        self._owes_acknowledgement = False

    # -- sending

    def is_due(self, next_number: int, now: Instant) -> bool:
        """Whether the present phase has lasted long enough (SPEC 4.2-5)."""
        if next_number - self.first_sent >= self._packets:
            return True
        if self._began is None:
            self._began = now
            self.due_at = now + self._interval if self._interval else _NEVER
        return bool(self._interval) and now - self._began >= self._interval

    def is_worn_out(self, next_number: int) -> bool:
        """Whether the cipher must not seal any more with the present key (SPEC 4.2-8)."""
        return next_number - self.first_sent >= self._protection.confidentiality_limit

    def update(self, next_number: int) -> None:
        """Seal in the next phase from packet ``next_number`` on."""
        self._send_key = next_key(self._send_key)
        self._protection.use_send_key(self._send_key)
        self.send_kind ^= PHASE_BIT
        self.updates += 1
        self.first_sent, self._began = next_number, None
        self.due_number, self.due_at = next_number + self._packets, 0

    def on_ack_sent(self) -> None:
        """An acknowledgement of all that was received goes out in the current phase."""
        self._owes_acknowledgement = False

    # -- receiving

    def open_other(self, number: int, packet: memoryview, *, until: Instant) -> bool:
        """Open a packet of another phase than the current one, in place; False: damaged or forged.

        Args:
            until: how long the key that this may replace is to be kept.

        Raises:
            RemoteProtocolError: the peer updates again before it can know of our acknowledgement.
        """
        # One burst may hold packets of the phase before and of the next: their type bytes are the same.
        self.reading_previous = number < self._first_received
        if self.reading_previous:
            return self._previous is not None and open_with(self._previous, number, packet)
        if self._next is None:
            key = next_key(self._receive_key)
            self._next = key, self._protection.decrypter(key)
        key, decrypt = self._next
        if not open_with(decrypt, number, packet):
            return False
        # SPEC 4.2-7. One that only comes up to our own phase answers us, and may be as early as it can.
        if self._owes_acknowledgement and self.updates == self.received_updates:
            raise RemoteProtocolError(ErrorCode.KEY_UPDATE, "two key updates without an acknowledgement")
        self._previous = self._protection.use_receive_key(key)
        self._receive_key, self._next = key, None
        self.receive_kind ^= PHASE_BIT
        self.received_updates += 1
        self._first_received = number
        self._owes_acknowledgement = True
        self.previous_until = until
        return True

    @property
    def must_follow(self) -> bool:
        """Whether the peer is a phase ahead of us."""
        return self.received_updates > self.updates

    def check_ack(self, largest: int) -> None:
        """Refuse an acknowledgement that the peer cannot have made with the keys it is under.

        Raises:
            RemoteProtocolError: sealed in the previous phase, it acknowledges a packet of the current one.
        """
        phase = self.received_updates - self.reading_previous
        if phase < self.updates and largest >= self.first_sent:  # SPEC 4.2-7
            raise RemoteProtocolError(ErrorCode.KEY_UPDATE, "ACK of a key phase its sender has not begun")

    def forget_previous(self) -> None:
        """Drop the key of the phase before: nothing of it is opened any more (SPEC 4.2-6)."""
        self._previous = self.previous_until = None
