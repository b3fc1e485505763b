"""Gives a ticket, though it is the initiator."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.wire.frames import NewTicket
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("gives-tickets")
class GivesTickets(Mutant):
    """Gives a ticket, though it is the initiator."""

    breaks: ClassVar[tuple[str, ...]] = ("15-2",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Give one."""
        connection.builder.control.append(NewTicket(60, bytes(32), b"ticket"))
