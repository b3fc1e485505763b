"""Acknowledges what was lost on the way, to make its peer faster."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.wire.frames import Ack
from tests.mutants.base import MUTANTS, Mutant
from tests.support.pair import Fate, hostile
from tests.support.recorded import RecordedPair


@MUTANTS.register("acknowledges-lost")
class AcknowledgesLost(Mutant):
    """Acknowledges what was lost on the way, to make its peer faster."""

    breaks: ClassVar[tuple[str, ...]] = ("5-8",)
    network: ClassVar[Fate] = staticmethod(hostile(loss=0.1))

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Give another acknowledgement than is due."""
        frame = connection.acks.frame

        def wrong(*, now: int) -> Ack | None:
            ack = frame(now=now)
            return ack and Ack(((ack.ranges[-1][0], ack.ranges[0][1]),), ack.delay_us, ack.ecn)

        connection.acks.frame = wrong  # type: ignore[method-assign]
