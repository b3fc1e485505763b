"""Early data: DATA packets before the handshake is through, under a key from a ticket (SPEC 15).

An EARLY packet is a DATA packet with another type, the initiator's connection ID and another key; packet
numbers, streams and recovery are those of the connection. So the initiator starts with the limits it
remembers and changes keys when RESPONSE comes; the responder opens EARLY with one key, all else with another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.protocol.datagrams import SocketAddress
from node.protocol.frame_handlers import EARLY_HANDLERS, HANDLERS
from node.protocol.states import ConnectionState
from node.protocol.suites import Suite
from node.protocol.time import Instant
from node.protocol.wire.data import DATA, EARLY
from node.protocol.wire.parameters import TransportParameters
from node.protocol.wire.protection import AeadProtection, PacketProtection

if TYPE_CHECKING:
    from node.protocol.connection import Connection

#: SPEC 15-3: stream bytes that an initiator sends early; a responder takes twice as many bytes of packets.
MAX_EARLY_BYTES = 65_536


def early_protection(suite: Suite, key: bytes) -> PacketProtection:
    """Return the protection of EARLY packets, which go one way only."""
    return AeadProtection(send_key=key, receive_key=key, cipher=suite.cipher)


class EarlyData:
    """The early data of one connection, at one of its ends.

    Args:
        connection: whose streams it belongs to; it has started, with the protection of EARLY packets at the
            initiator and that of DATA packets at the responder.
        protection: of EARLY packets.
    """

    def __init__(self, connection: Connection, protection: PacketProtection) -> None:
        self._connection = connection
        self._protection = protection
        #: Whether the responder takes it; at the initiator, known when RESPONSE has come.
        self.accepted = not connection.initiator
        self._bytes_left = 2 * MAX_EARLY_BYTES
        #: Whether an EARLY packet is being read: it confirms nothing (SPEC 15-6).
        self.is_reading = False

    def receive(self, packet: memoryview, *, source: SocketAddress, ecn: int, now: Instant) -> str | None:
        """Take an EARLY packet at the responder, or return why it is dropped."""
        c = self._connection
        if c.state is not ConnectionState.RESPONDING:
            return "EARLY after the handshake"
        if len(packet) > self._bytes_left:
            return "more early data than allowed"
        self._bytes_left -= len(packet)
        usual, fec, self.is_reading = c.protection, c.fec, True
        c.protection, c.receive_kind, c.handlers = self._protection, EARLY, EARLY_HANDLERS
        c.fec = None  # its blocks are of DATA packets
        try:
            c.receive(packet, len(packet), source=source, now=now, ecn=ecn)
        finally:
            c.protection, c.receive_kind, c.handlers = usual, DATA, HANDLERS
            c.fec, self.is_reading = fec, False
        return None

    def settle(self, peer: TransportParameters) -> bool:
        """At the initiator: RESPONSE has come; False: what was sent in vain fits its limits no more."""
        self.accepted = peer.early_accepted
        if self.accepted:
            return True
        if not self._fits(peer):
            return False
        self._connection.recovery.send_again()
        return True

    def _fits(self, peer: TransportParameters) -> bool:
        """Whether what was sent early may be sent again under the responder's present limits."""
        streams, used = self._connection.streams, 0
        for stream in streams.senders.values():
            used += stream.high_water
            if stream.high_water > peer.initial_max_stream_data:
                return False
        opened = streams.opened_by_us
        limits = (peer.initial_max_streams_bidi, peer.initial_max_streams_uni)
        return used <= peer.initial_max_data and all(
            n <= most for n, most in zip(opened, limits, strict=True)
        )
