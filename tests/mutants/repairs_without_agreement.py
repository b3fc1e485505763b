"""Reports rebuilt packets where no FEC was agreed on."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.connection import Connection
from node.protocol.wire.fec_frames import FecRecovered
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("repairs-without-agreement")
class RepairsWithoutAgreement(Mutant):
    """Reports rebuilt packets where no FEC was agreed on."""

    breaks: ClassVar[tuple[str, ...]] = ("12-2",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Say so."""
        connection.builder.control.append(FecRecovered(((0, 1),)))
