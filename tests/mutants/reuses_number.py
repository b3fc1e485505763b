"""Uses a packet number for two packets."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.recovery.sent_packets import SentBurst
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("reuses-number")
class ReusesNumber(Mutant):
    """Uses a packet number for two packets."""

    breaks: ClassVar[tuple[str, ...]] = ("4-1",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Go back by one, now and then."""
        recovery, on_sent = connection.recovery, connection.recovery.on_sent

        def wrong(record: SentBurst) -> None:
            on_sent(record)
            if recovery.next_packet_number % 9 == 0:
                recovery.next_packet_number -= 1

        recovery.on_sent = wrong  # type: ignore[method-assign]
