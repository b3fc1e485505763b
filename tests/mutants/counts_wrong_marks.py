"""Reports more CE marks than came."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.wire.frames import Ack
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("counts-wrong-marks")
class CountsWrongMarks(Mutant):
    """Reports more CE marks than came."""

    breaks: ClassVar[tuple[str, ...]] = ("8.2-1",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Give another acknowledgement than is due."""
        frame = connection.acks.frame

        def wrong(*, now: int) -> Ack | None:
            ack = frame(now=now)
            return ack and Ack(ack.ranges, ack.delay_us, (0, 0, 1 + (ack.ecn or (0, 0, 0))[2]))

        connection.acks.frame = wrong  # type: ignore[method-assign]
