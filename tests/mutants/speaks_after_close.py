"""Sends CLOSE and goes on."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.wire.frames import Close
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("speaks-after-close")
class SpeaksAfterClose(Mutant):
    """Sends CLOSE and goes on."""

    breaks: ClassVar[tuple[str, ...]] = ("9-1",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Say CLOSE without meaning it."""
        connection.builder.control.append(Close(0, ""))
