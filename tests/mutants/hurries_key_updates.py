"""Begins a key phase before the one before it is acknowledged."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.key_update import _begin_phase
from node.protocol.wire.frames import Ping
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("hurries-key-updates")
class HurriesKeyUpdates(Mutant):
    """Begins a key phase before the one before it is acknowledged."""

    breaks: ClassVar[tuple[str, ...]] = ("4.2-3",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Change keys with every packet of one instant."""
        for _ in range(3):
            _begin_phase(connection)
            connection.builder.control.append(Ping())
            connection.wake()
            pair.drain()
