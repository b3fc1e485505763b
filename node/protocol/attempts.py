"""Which handshake a repeated INITIATION belongs to, and what those of one attempt share (SPEC 3-6, 3-9).

An *attempt* is all that comes under one connection ID of an initiator. Who sees an INITIATION on its way can
send a copy from elsewhere, or, in XX, another message under its connection ID; and behind a NAT that forgets
its mapping the initiator itself comes from elsewhere. Which is which shows only when one is confirmed:

    INITIATION from A ──► a handshake ──► RESPONSE to A
    the same from B   ──► another one ──► RESPONSE to B ──► confirmed: A's is forgotten

One handshake for all of them would prove nothing of any address: whoever has its RESPONSE from one could
confirm with a forged packet from another, which then counts as one that the peer was heard from.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from node.protocol.configuration import Configuration
from node.protocol.datagrams import SocketAddress
from node.protocol.errors import LocalProtocolError
from node.protocol.wire.setup import SetupPacket

if TYPE_CHECKING:
    from node.protocol.connection import Connection

#: Connections awaited from one peer with a configuration of their own.
MAX_EXPECTED = 1024

#: Source address and source connection ID.
_AttemptKey: TypeAlias = tuple[int, bytes]
#: What tells the handshakes of an attempt apart: UDP source, suite and Noise message.
_Asked: TypeAlias = tuple[SocketAddress, int, bytes]


@dataclass(slots=True)
class _Attempt:
    handshakes: dict[_Asked, Connection] = field(default_factory=dict)
    #: What was awaited from the peer, to be given back if nothing is confirmed (SPEC 3.1-6).
    awaited: Configuration | None = None
    confirmed: bool = False


class Attempts:
    """What peers began at one endpoint, and the configurations that wait for what they will begin."""

    def __init__(self) -> None:
        self._attempts: dict[_AttemptKey, _Attempt] = {}
        self._places: dict[Connection, tuple[_AttemptKey, _Asked]] = {}
        self._expected: dict[int, deque[Configuration]] = {}

    # -- what the caller wants

    def expect(self, peer_address: int, configuration: Configuration) -> None:
        """Take the next connection from this peer with a configuration of its own.

        Raises:
            LocalProtocolError: too many are awaited from it.
        """
        waiting = self._expected.setdefault(peer_address, deque())
        if len(waiting) >= MAX_EXPECTED:
            raise LocalProtocolError(f"{MAX_EXPECTED} connections from one peer are awaited already")
        waiting.append(configuration)

    def expect_no_more(self, peer_address: int, configuration: Configuration) -> None:
        """Take back one ``expect``, if its connection has not come, or came and was not confirmed."""
        waiting = self._expected.get(peer_address, deque())
        if configuration in waiting:
            waiting.remove(configuration)
            if not waiting:
                del self._expected[peer_address]
            return
        for (address, _), attempt in self._attempts.items():
            if address == peer_address and attempt.awaited == configuration:
                attempt.awaited = None
                return

    # -- for the handshakes

    def find(self, packet: SetupPacket, source: SocketAddress) -> Connection | None:
        """Return the connection of the handshake that an INITIATION repeats."""
        attempt = self._attempts.get(_key(packet))
        return None if attempt is None else attempt.handshakes.get(_asked(packet, source))

    def is_confirmed(self, packet: SetupPacket) -> bool:
        """Whether a handshake of this attempt is through: nothing else comes of it any more."""
        attempt = self._attempts.get(_key(packet))
        return attempt is not None and attempt.confirmed

    def configuration(self, packet: SetupPacket) -> Configuration | None:
        """Return what is awaited of this attempt; None: nothing of its own."""
        attempt = self._attempts.get(_key(packet))
        if attempt is not None:
            return attempt.awaited
        waiting = self._expected.get(packet.source_address)
        return waiting[0] if waiting else None

    def add(self, packet: SetupPacket, source: SocketAddress, connection: Connection) -> None:
        """Remember the connection that an INITIATION began; it has the configuration of its attempt."""
        key, asked = _key(packet), _asked(packet, source)
        attempt = self._attempts.get(key)
        if attempt is None:
            attempt = self._attempts[key] = _Attempt(awaited=self._take_awaited(packet.source_address))
        attempt.handshakes[asked] = connection
        self._places[connection] = key, asked

    def confirm(self, connection: Connection) -> list[Connection]:
        """Note that a handshake is through; return the others of its attempt, which nobody needs now."""
        key, _ = self._places[connection]
        attempt = self._attempts[key]
        attempt.confirmed, attempt.awaited = True, None
        return [other for other in attempt.handshakes.values() if other is not connection]

    def forget(self, connection: Connection) -> None:
        """Forget a connection that is over; what was awaited of an attempt in vain is awaited again."""
        place = self._places.pop(connection, None)
        if place is None:
            return
        key, asked = place
        attempt = self._attempts[key]
        del attempt.handshakes[asked]
        if attempt.handshakes:
            return
        del self._attempts[key]
        if attempt.awaited is not None:
            self._expected.setdefault(key[0], deque()).appendleft(attempt.awaited)

    def _take_awaited(self, peer_address: int) -> Configuration | None:
        waiting = self._expected.get(peer_address)
        if not waiting:
            return None
        found = waiting.popleft()
        if not waiting:
            del self._expected[peer_address]
        return found


def _key(packet: SetupPacket) -> _AttemptKey:
    return packet.source_address, packet.source_connection_id


def _asked(packet: SetupPacket, source: SocketAddress) -> _Asked:
    return source, packet.suite, packet.message
