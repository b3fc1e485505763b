"""Acknowledges packets of a new key phase in the old one."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.configuration import Configuration
from node.protocol.connection import Connection
from node.protocol.key_phases import KeyPhases
from tests.mutants.base import MUTANTS, Mutant
from tests.support.recorded import RecordedPair


@MUTANTS.register("clings-to-old-keys")
class ClingsToOldKeys(Mutant):
    """Acknowledges packets of a new key phase in the old one."""

    breaks: ClassVar[tuple[str, ...]] = ("4.2-4",)
    right: ClassVar[Configuration] = Configuration(key_update_packets=20)

    def break_connection(self, pair: RecordedPair, connection: Connection) -> None:
        """Follow nobody."""

        class Clinging(KeyPhases):
            must_follow = False

        assert connection.keys is not None
        connection.keys.__class__ = Clinging
