"""Acknowledges a number that its peer has left out, on a network that loses nothing."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.time import SECOND
from node.protocol.wire.frames import Ack
from tests.mutants.base import MUTANTS, Mutant, write_back
from tests.support.pair import Fate, perfect
from tests.support.recorded import RecordedPair


@MUTANTS.register("acknowledges-skipped")
class AcknowledgesSkipped(Mutant):
    """Acknowledges a number that its peer has left out, on a network that loses nothing."""

    breaks: ClassVar[tuple[str, ...]] = ("5-2",)
    network: ClassVar[Fate] = staticmethod(perfect())

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Acknowledge all up to the largest."""
        frame = connection.acks.frame

        def wrong(*, now: int) -> Ack | None:
            ack = frame(now=now)
            return ack and Ack(((ack.ranges[-1][0], ack.ranges[0][1]),), ack.delay_us, ack.ecn)

        connection.acks.frame = wrong  # type: ignore[method-assign]

    def work(self, pair: RecordedPair) -> None:
        """Receive enough that a number is left out."""
        write_back(pair, 1_000_000)
        pair.run_for(4 * SECOND)
