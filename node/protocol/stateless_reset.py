"""Telling a peer that its connection is not known here any more (SPEC 4.3; RFC 9000 §10.3).

A node that has lost its memory still has its private key, and from it the token of every connection
ID it ever issued. Only who was given the token under the handshake's protection believes it.
"""

from __future__ import annotations

import hmac
from collections import deque
from typing import TYPE_CHECKING

from node.protocol.datagrams import SocketAddress, Transmit
from node.protocol.identity import RESET_TOKEN_BYTES, Identity
from node.protocol.time import SECOND, Instant
from node.protocol.wire.parameters import CONNECTION_ID_BYTES

if TYPE_CHECKING:
    from node.protocol.connection import Connection

STATELESS_RESET = 0x42
#: Type, the connection ID that is not known, its token: fewer than any DATA packet of ``aead`` has.
RESET_PACKET_BYTES = 1 + CONNECTION_ID_BYTES + RESET_TOKEN_BYTES
#: SPEC 4.3-4: resets sent in a second; junk with random connection IDs gets no more than these.
MAX_RESETS_A_SECOND = 64
#: Connections kept by one of the peer's IDs: IDs are the peers' choice, and may be alike by intent.
MAX_ALIKE = 8


class StatelessResets:
    """Both ends of it for one endpoint: what it answers, and what it believes.

    Args:
        identity: the node.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._by_peer_id: dict[bytes, list[tuple[bytes, Connection]]] = {}
        #: The peer's IDs of each connection, as keys: in order, and each once.
        self._ids_of: dict[Connection, dict[bytes, None]] = {}
        #: When the last of them went: counted by whole seconds, there could be twice as many in one.
        self._recent: deque[Instant] = deque(maxlen=MAX_RESETS_A_SECOND)
        #: Waiting to go: as few as the rate allows, since the driver drains after each burst.
        self.replies: deque[tuple[SocketAddress, bytes]] = deque(maxlen=MAX_RESETS_A_SECOND)

    def remember(self, connection: Connection, peer_id: bytes, token: bytes) -> None:
        """Note the token that came with a connection ID of the peer."""
        alike = self._by_peer_id.setdefault(peer_id, [])
        if len(alike) < MAX_ALIKE:
            alike.append((token, connection))
            self._ids_of.setdefault(connection, {})[peer_id] = None

    def forget(self, connection: Connection) -> None:
        """Forget a connection under all of the peer's IDs."""
        for peer_id in self._ids_of.pop(connection, ()):
            self._forget_at(peer_id, connection)

    def forget_id(self, connection: Connection, peer_id: bytes) -> None:
        """Forget an ID of the peer's that was retired: packets that still carry it are late (SPEC 13.1-4)."""
        if self._ids_of.get(connection, {}).pop(peer_id, b"") is None:
            self._forget_at(peer_id, connection)

    def _forget_at(self, peer_id: bytes, connection: Connection) -> None:
        alike = [entry for entry in self._by_peer_id[peer_id] if entry[1] is not connection]
        if alike:
            self._by_peer_id[peer_id] = alike
        else:
            del self._by_peer_id[peer_id]

    def answer(self, datagram: memoryview, source: SocketAddress, *, now: Instant) -> None:
        """Answer a DATA packet whose connection ID is not known, if it is to be answered."""
        if len(datagram) <= RESET_PACKET_BYTES:  # SPEC 4.3-3
            return
        if len(self._recent) == MAX_RESETS_A_SECOND and now - self._recent[0] < SECOND:
            return  # SPEC 4.3-4
        self._recent.append(now)
        connection_id = bytes(datagram[1 : 1 + CONNECTION_ID_BYTES])
        packet = bytes((STATELESS_RESET,)) + connection_id + self._identity.reset_token(connection_id)
        self.replies.append((source, packet))

    def reply(self) -> Transmit | None:
        """Return the next STATELESS_RESET to send, or None."""
        if not self.replies:
            return None
        destination, packet = self.replies.popleft()
        return Transmit(destination, memoryview(packet), len(packet))

    def find(self, datagram: memoryview) -> Connection | None:
        """Return the connection that a STATELESS_RESET proves to be over, if it proves that of any."""
        if len(datagram) != RESET_PACKET_BYTES:
            return None
        connection_id, token = bytes(datagram[1:9]), bytes(datagram[9:])
        found = None
        for known, connection in self._by_peer_id.get(connection_id, ()):
            if hmac.compare_digest(known, token):  # SPEC 4.3-5: takes as long however much of it is right
                found = connection
        return found
