"""Opens more streams than the peer lets it."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.time import SECOND
from tests.mutants.base import MUTANTS, Mutant, write
from tests.support.recorded import RecordedPair


@MUTANTS.register("too-many-streams")
class TooManyStreams(Mutant):
    """Opens more streams than the peer lets it."""

    breaks: ClassVar[tuple[str, ...]] = ("6-7",)
    right: ClassVar[Configuration] = Configuration(max_streams_bidi=2)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Take the peer for more generous than it is."""
        connection.streams.raise_peer_limit(5, unidirectional=False)

    def work(self, pair: RecordedPair) -> None:
        """Open as many as it thinks it may, at once."""
        count = 5 if self.broken else 2
        write(pair, *[2000 + index for index in range(count)])
        pair.run_for(2 * SECOND)
