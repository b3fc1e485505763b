"""Says acknowledgements were delayed longer than they were."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.wire.frames import Ack
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("says-wrong-delay")
class SaysWrongDelay(Mutant):
    """Says acknowledgements were delayed longer than they were."""

    breaks: ClassVar[tuple[str, ...]] = ("5-8",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Give another acknowledgement than is due."""
        frame = connection.acks.frame

        def wrong(*, now: int) -> Ack | None:
            ack = frame(now=now)
            return ack and Ack(ack.ranges, ack.delay_us + 100_000, ack.ecn)

        connection.acks.frame = wrong  # type: ignore[method-assign]
