"""Sends data again that nothing says was lost."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.recovery.sent_packets import SentBurst
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("repeats-at-will")
class RepeatsAtWill(Mutant):
    """Sends data again that nothing says was lost."""

    breaks: ClassVar[tuple[str, ...]] = ("8-8",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Queue every third burst again at once."""
        on_sent = connection.recovery.on_sent

        def again(record: SentBurst) -> None:
            on_sent(record)
            if record.stream is not None and record.first % 3 == 0:
                for start, end, fin in record.data_of(record.full):
                    record.stream.requeue(start, end, fin=fin)
                connection.streams.mark_ready(record.stream)

        connection.recovery.on_sent = again  # type: ignore[method-assign]
