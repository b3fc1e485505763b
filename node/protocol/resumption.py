"""Coming back with a ticket: which connections send, and which take, early data (SPEC 15)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from node.protocol.configuration import Configuration
from node.protocol.datagrams import SocketAddress
from node.protocol.early_data import EarlyData, early_protection
from node.protocol.handshake import Accepted, Initiator, Redeem
from node.protocol.start import start_early
from node.protocol.states import ConnectionState
from node.protocol.suites import SUITES, Suite
from node.protocol.tickets import HeldTicket, TicketOffice, TicketWallet, allows_early_data
from node.protocol.time import Instant
from node.protocol.wire.frames import NewTicket
from node.protocol.wire.parameters import TransportParameters
from node.protocol.wire.setup import SetupPacket

if TYPE_CHECKING:
    from node.protocol.connection import Connection

#: SPEC 15-5: half-open connections that take early data; each holds 128 KiB of it at most.
MAX_EARLY_CONNECTIONS = 128


#: SPEC 15-8: where EARLY packets of a connection come from, and the initiator's connection ID in them.
EarlyKey: TypeAlias = tuple[SocketAddress, bytes]


class Resumption:
    """The tickets of one endpoint, given and held, and its connections with early data.

    Args:
        refuse: told why early data is refused, or an EARLY packet dropped.
        key_log: called with each line of the key log (SPEC 11).
    """

    def __init__(
        self, rng: Random, refuse: Callable[[str], None], key_log: Callable[[str], None] | None
    ) -> None:
        self._refuse = refuse
        self._key_log = key_log
        self._office, self._wallet = TicketOffice(rng), TicketWallet()
        self._taking: dict[EarlyKey, Connection] = {}

    # -- at the initiator

    def ticket_for(self, connection: Connection, *, now: Instant) -> HeldTicket | None:
        """Return the ticket that a new connection goes with, if there is one; and keep the next one."""
        configuration = connection.configuration
        if not configuration.early_data:
            return None
        if allows_early_data(configuration.suite, configuration.integrity):
            connection.keep_ticket = partial(self._keep, connection)
        return self._wallet.take(connection.peer_address, configuration, now=now)

    def begin(self, connection: Connection, initiator: Initiator, held: HeldTicket) -> None:
        """Let a connection send early data (SPEC 15-3)."""
        key = initiator.early_key(held.secret)
        ours = TransportParameters.of(connection.configuration, connection.connection_id)
        start_early(connection, ours, held.peer, early_protection(held.suite, key))
        self._log(connection.connection_id, held.suite, key)

    def _keep(self, connection: Connection, frame: NewTicket, now: Instant) -> None:
        assert connection.parameters is not None
        suite = connection.configuration.suite
        self._wallet.keep(connection.peer_address, frame, suite, connection.parameters, now=now)

    # -- at the responder

    def receive(
        self, datagram: memoryview, *, source: SocketAddress, ecn: int, now: Instant
    ) -> Connection | None:
        """Take an EARLY packet; return its connection, if there is one."""
        connection = self._taking.get((source, bytes(datagram[1:9])))
        if connection is None or connection.early is None:
            self._refuse("EARLY that was not accepted")
            return None
        problem = connection.early.receive(datagram, source=source, ecn=ecn, now=now)
        if problem is not None:
            self._refuse(problem)
        return connection

    def redeemer(
        self, packet: SetupPacket, source: SocketAddress, configuration: Configuration, *, now: Instant
    ) -> Redeem:
        """Return what takes the ticket of an INITIATION or refuses it, and then the handshake goes on."""
        return partial(self._redeem, packet, source, configuration, now)

    def take(self, connection: Connection, accepted: Accepted, source: SocketAddress) -> EarlyKey:
        """Let a connection take early data, whose ticket was redeemed (SPEC 15-4); return its place here."""
        connection.early = EarlyData(connection, early_protection(accepted.suite, accepted.early_key))
        connection.life.announced = True
        key = source, accepted.peer.connection_id
        self._taking[key] = connection
        self._log(accepted.peer.connection_id, accepted.suite, accepted.early_key)
        return key

    def offer(self, connection: Connection, accepted: Accepted) -> None:
        """Let a connection give a ticket when it is confirmed (SPEC 15-2)."""
        suite, ours = accepted.suite, accepted.ours
        if connection.configuration.early_data and allows_early_data(suite, ours.integrity):
            connection.give_ticket = partial(self._office.issue, accepted.peer_address, suite, ours)

    def forget(self, connection: Connection, key: EarlyKey) -> None:
        """Take no more early data for a connection."""
        if self._taking.get(key) is connection:
            del self._taking[key]

    def _redeem(
        self, packet: SetupPacket, source: SocketAddress, configuration: Configuration, now: Instant,
        asked: TransportParameters, ours: TransportParameters,
    ) -> bytes:  # fmt: skip
        suite = SUITES[packet.suite]
        if not configuration.early_data or not allows_early_data(suite, asked.integrity):
            found: bytes | str = "not here"
        elif (source, packet.source_connection_id) in self._taking or not self._has_room():
            found = "too much at once"
        else:
            address = packet.source_address
            found = self._office.redeem(asked.ticket, address, suite, asked=asked, ours=ours, now=now)
        if isinstance(found, bytes):
            return found
        self._refuse(f"early data refused: {found}")
        return b""

    def _has_room(self) -> bool:
        if len(self._taking) >= MAX_EARLY_CONNECTIONS:
            waiting = self._taking.items()
            self._taking = {key: c for key, c in waiting if c.state is ConnectionState.RESPONDING}
        return len(self._taking) < MAX_EARLY_CONNECTIONS

    def _log(self, initiator_id: bytes, suite: Suite, key: bytes) -> None:
        if self._key_log is not None:  # SPEC 11-4
            profile = "aead" if suite.cipher == "aes-gcm" else f"aead-{suite.cipher}"
            self._key_log(f"STRAIT_EARLY {initiator_id.hex()} {profile} {key.hex()}")
