"""Resets a stream and goes on to send its data."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.frames import ResetStream
from tests.mutants.base import MUTANTS, Mutant, write
from tests.support.recorded import RecordedPair


@MUTANTS.register("data-after-reset")
class DataAfterReset(Mutant):
    """Resets a stream and goes on to send its data."""

    breaks: ClassVar[tuple[str, ...]] = (
        "6.2-4",
        "6",
    )

    def work(self, pair: RecordedPair) -> None:
        """Say RESET_STREAM with the size that there will be, half way."""
        (stream,) = write(pair, 300_000)
        pair.run_for(40 * MILLISECOND)
        if self.broken:
            pair.connection.builder.control.append(ResetStream(stream, 0, 300_000))
        pair.run_for(3 * SECOND)
