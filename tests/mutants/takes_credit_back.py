"""Announces a smaller maximum than before."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.time import MILLISECOND, SECOND
from node.protocol.wire.frames import MaxData
from tests.mutants.base import MUTANTS, Mutant, write_back
from tests.support.recorded import RecordedPair


@MUTANTS.register("takes-credit-back")
class TakesCreditBack(Mutant):
    """Announces a smaller maximum than before."""

    breaks: ClassVar[tuple[str, ...]] = ("5-5",)

    def work(self, pair: RecordedPair) -> None:
        """Announce once rightly."""
        pair.connection.builder.control.append(MaxData(90_000_000))
        write_back(pair, 60_000)
        pair.run_for(100 * MILLISECOND)
        if self.broken:
            pair.connection.builder.control.append(MaxData(1))
        write_back(pair, 60_001)
        pair.run_for(2 * SECOND)
