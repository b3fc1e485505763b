"""Sends datagrams of a size that no probe has shown to pass."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.time import MILLISECOND
from tests.mutants.base import MUTANTS, Mutant
from tests.support.pair import Fate
from tests.support.recorded import RecordedPair


def narrow(datagram: bytearray, rng: Random) -> list[int]:
    """Lose what is longer than the path."""
    return [5 * MILLISECOND] if len(datagram) <= 1500 else []


@MUTANTS.register("larger-than-the-path")
class LargerThanThePath(Mutant):
    """Sends datagrams of a size that no probe has shown to pass."""

    breaks: ClassVar[tuple[str, ...]] = ("13.4",)
    left: ClassVar[Configuration] = Configuration(max_datagram_size=4000)
    right: ClassVar[Configuration] = left
    network: ClassVar[Fate] = staticmethod(narrow)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Take a larger size."""
        connection.builder.resize(3500)
