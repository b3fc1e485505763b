"""Counts packet numbers anew with new keys."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("reuses-nonces")
class ReusesNonces(Mutant):
    """Counts packet numbers anew with new keys."""

    breaks: ClassVar[tuple[str, ...]] = (
        "4-1",
        "4.1-4",
    )
    left: ClassVar[Configuration] = Configuration(key_update_packets=20)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Begin at 0 with each phase."""
        keys = connection.keys
        assert keys is not None
        update = keys.update

        def anew(next_number: int) -> None:
            update(next_number)
            connection.recovery.next_packet_number = 1

        keys.update = anew  # type: ignore[method-assign]
