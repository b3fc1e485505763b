"""Takes a packet for lost as soon as a later one is acknowledged."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.recovery.reordering import Reordering
from node.protocol.time import MILLISECOND
from tests.mutants.base import MUTANTS, Mutant
from tests.support.pair import Fate
from tests.support.recorded import RecordedPair


def overtaking(datagram: bytearray, rng: Random) -> list[int]:
    """Let one packet in ten come behind the next two."""
    return [(45 if len(datagram) > 1000 and rng.random() < 0.2 else 40) * MILLISECOND]


@MUTANTS.register("impatient")
class Impatient(Mutant):
    """Takes a packet for lost as soon as a later one is acknowledged."""

    breaks: ClassVar[tuple[str, ...]] = ("8-8",)
    network: ClassVar[Fate] = staticmethod(overtaking)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Lower the threshold for good."""

        class One(Reordering):
            @property
            def packet_threshold(self) -> int:
                return 1

            @packet_threshold.setter
            def packet_threshold(self, value: int) -> None:
                del value

        connection.recovery.reordering.__class__ = One
