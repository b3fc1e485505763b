"""Sends beyond the connection's maximum, and ignores MAX_DATA."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("overruns-connection-window")
class OverrunsConnectionWindow(Mutant):
    """Sends beyond the connection's maximum, and ignores MAX_DATA."""

    breaks: ClassVar[tuple[str, ...]] = ("6-2",)
    right: ClassVar[Configuration] = Configuration(connection_window=20_000, initial_connection_window=20_000)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Take the peer for more generous than it is."""
        connection.credit._peer_maximum += 200_000

    def work(self, pair: RecordedPair) -> None:
        """Send to a peer that reads nothing."""
        pair.read = False
        super().work(pair)
