"""Sends datagrams that are longer than its peer takes."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("larger-than-the-peer-takes")
class LargerThanThePeerTakes(Mutant):
    """Sends datagrams that are longer than its peer takes."""

    breaks: ClassVar[tuple[str, ...]] = ("4-4",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Take a larger size."""
        connection.builder.resize(1500)
