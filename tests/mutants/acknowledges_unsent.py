"""Acknowledges what was never sent."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.wire.frames import Ack
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("acknowledges-unsent")
class AcknowledgesUnsent(Mutant):
    """Acknowledges what was never sent."""

    breaks: ClassVar[tuple[str, ...]] = ("5-2",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Give another acknowledgement than is due."""
        frame = connection.acks.frame

        def wrong(*, now: int) -> Ack | None:
            ack = frame(now=now)
            if ack is None:
                return None
            (start, end), *rest = ack.ranges
            return Ack(((start, end + 3), *rest), ack.delay_us, ack.ecn)

        connection.acks.frame = wrong  # type: ignore[method-assign]
