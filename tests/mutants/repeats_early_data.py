"""Sends its early data a second time, in the very same packets."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.configuration import Configuration
from node.protocol.time import SECOND
from node.protocol.wire.data import EARLY
from tests.mutants.base import MUTANTS, Mutant, rewrite
from tests.support.recorded import RecordedPair


@MUTANTS.register("repeats-early-data")
class RepeatsEarlyData(Mutant):
    """Sends its early data a second time, in the very same packets."""

    breaks: ClassVar[tuple[str, ...]] = ("4-1",)
    left: ClassVar[Configuration] = Configuration(early_data=True)
    right: ClassVar[Configuration] = Configuration(early_data=True)
    connections: ClassVar[int] = 2

    def break_node(self, pair: RecordedPair) -> None:
        """Double EARLY packets."""
        rewrite(pair.left, lambda datagram: [datagram] * (2 if datagram[0] == EARLY else 1))

    def work(self, pair: RecordedPair) -> None:
        """Come back with the ticket of the first connection, and write at once."""
        pair.run_for(SECOND)
        pair.connection.close(now=pair.now)
        pair.drain()
        pair.run_for(60 * SECOND)
        connection = pair.connection = pair.left.connect(pair.peer, now=pair.now)
        connection.write(connection.open_stream(), bytes(range(256)) * 12, end=True)
        pair.drain()
        pair.run_for(2 * SECOND)
