"""Goes on to mark on a path that loses the marks."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("marks-what-it-may-not")
class MarksWhatItMayNot(Mutant):
    """Goes on to mark on a path that loses the marks."""

    breaks: ClassVar[tuple[str, ...]] = (
        "8.2-3",
        "8.2-2",
    )

    def break_node(self, pair: RecordedPair) -> None:
        """Clear all marks on the way there."""
        pair.mark_to_right = lambda codepoint: 0

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Hear nothing of it."""
        connection.recovery.ecn.codepoint = 2
