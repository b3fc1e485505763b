"""Marks its packets with ECT(1)."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("marks-ect1")
class MarksEct1(Mutant):
    """Marks its packets with ECT(1)."""

    breaks: ClassVar[tuple[str, ...]] = ("8.2-2",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Mark otherwise."""
        connection.recovery.ecn.codepoint = 1
