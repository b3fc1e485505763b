"""Begins with a window as large as it likes."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("overruns-initial-window")
class OverrunsInitialWindow(Mutant):
    """Begins with a window as large as it likes."""

    breaks: ClassVar[tuple[str, ...]] = ("8.1-1",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Open the window."""
        connection.recovery.congestion.congestion_window = 1 << 20
        connection.recovery.pacer._tokens = 1 << 20

    def connect(self, pair: RecordedPair) -> None:
        """Go on before anything is acknowledged."""
        pair.established()
