"""Goes on with a connection ID that it has retired."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.time import MILLISECOND, SECOND
from tests.mutants.base import MUTANTS, Mutant, write, write_back
from tests.support.recorded import RecordedPair


@MUTANTS.register("uses-retired-id")
class UsesRetiredId(Mutant):
    """Goes on with a connection ID that it has retired."""

    breaks: ClassVar[tuple[str, ...]] = ("13.1-1",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Keep the ID whatever path it is."""
        connection.builder.set_destination = lambda connection_id: None  # type: ignore[method-assign]

    def work(self, pair: RecordedPair) -> None:
        """Move on purpose, and go on."""
        write(pair, 60_000)
        write_back(pair, 60_000)
        pair.run_for(200 * MILLISECOND)
        pair.left_address = ("elsewhere", 3)
        pair.connection.migrate(now=pair.now)
        pair.drain()
        write(pair, 50_000)
        pair.run_for(3 * SECOND)
