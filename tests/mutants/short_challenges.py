"""Sends path challenges without padding."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.datagrams import Transmit
from node.protocol.path import Path
from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.frames import Frame
from tests.mutants.base import MUTANTS, Mutant, write
from tests.support.recorded import RecordedPair


@MUTANTS.register("short-challenges")
class ShortChallenges(Mutant):
    """Sends path challenges without padding."""

    breaks: ClassVar[tuple[str, ...]] = ("13.2-2",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Leave the padding out."""
        apart = connection.builder.apart

        def short(frame: Frame, path: Path, *, size: int, now: int) -> Transmit | None:
            return apart(frame, path, size=min(size, 100), now=now)

        connection.builder.apart = short  # type: ignore[method-assign]

    def work(self, pair: RecordedPair) -> None:
        """Move on purpose."""
        write(pair, 20_000)
        pair.run_for(200 * MILLISECOND)
        pair.left_address = ("elsewhere", 3)
        pair.connection.migrate(now=pair.now)
        pair.drain()
        pair.run_for(2 * SECOND)
