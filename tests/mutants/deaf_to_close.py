"""Goes on after its peer's CLOSE has come."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.time import MILLISECOND, SECOND
from tests.mutants.base import MUTANTS, Mutant, write
from tests.support.pair import Fate, perfect
from tests.support.recorded import RecordedPair


@MUTANTS.register("deaf-to-close")
class DeafToClose(Mutant):
    """Goes on after its peer's CLOSE has come."""

    breaks: ClassVar[tuple[str, ...]] = ("9-1",)
    network: ClassVar[Fate] = staticmethod(perfect())

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Take no note of it."""
        connection.peer_closed = lambda code, reason, now: None  # type: ignore[method-assign]

    def work(self, pair: RecordedPair) -> None:
        """Have the peer close while there is much to send."""
        write(pair, 3_000_000)
        pair.run_for(100 * MILLISECOND)
        assert pair.accepted is not None
        pair.accepted.close(now=pair.now)
        pair.drain()
        pair.run_for(2 * SECOND)
