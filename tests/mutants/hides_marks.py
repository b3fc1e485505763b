"""Acknowledges marked packets without ECN counts."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.wire.frames import Ack
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("hides-marks")
class HidesMarks(Mutant):
    """Acknowledges marked packets without ECN counts."""

    breaks: ClassVar[tuple[str, ...]] = ("8.2-1",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Give another acknowledgement than is due."""
        frame = connection.acks.frame

        def wrong(*, now: int) -> Ack | None:
            ack = frame(now=now)
            return ack and Ack(ack.ranges, ack.delay_us, None)

        connection.acks.frame = wrong  # type: ignore[method-assign]
