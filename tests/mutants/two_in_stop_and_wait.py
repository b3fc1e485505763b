"""Has three packets out in stop-and-wait."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.time import SECOND
from tests.mutants.base import MUTANTS, Mutant, write
from tests.support.recorded import RecordedPair


@MUTANTS.register("two-in-stop-and-wait")
class TwoInStopAndWait(Mutant):
    """Has three packets out in stop-and-wait."""

    breaks: ClassVar[tuple[str, ...]] = ("7-2",)
    left: ClassVar[Configuration] = Configuration(arq="stop-and-wait")

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Allow three."""
        connection.arq.max_open_packets = 3  # type: ignore[misc]

    def work(self, pair: RecordedPair) -> None:
        """Send a little: one packet a round trip."""
        write(pair, 40_000)
        pair.run_for(3 * SECOND)
