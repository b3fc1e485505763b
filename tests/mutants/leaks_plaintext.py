"""Leaves one packet in ten in clear."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.arena import Slot
from node.protocol.connection import Connection
from node.protocol.wire.protection import AeadProtection
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("leaks-plaintext")
class LeaksPlaintext(Mutant):
    """Leaves one packet in ten in clear."""

    breaks: ClassVar[tuple[str, ...]] = ("4.1-1",)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Seal all others."""
        seal, protection = connection.protection.seal, connection.protection
        assert isinstance(protection, AeadProtection)

        def leak(slots: list[Slot], first_packet_number: int) -> None:
            for index, slot in enumerate(slots):
                if (first_packet_number + index) % 10:
                    seal([slot], first_packet_number + index)

        protection.seal = leak  # type: ignore[method-assign]
