"""Answers an INITIATION with four RESPONSEs."""

from __future__ import annotations

from typing import ClassVar

from node.dissectors.protection import crc32c
from tests.mutants.base import MUTANTS, Mutant, rewrite
from tests.support.recorded import RecordedPair


@MUTANTS.register("amplifies-handshake")
class AmplifiesHandshake(Mutant):
    """Answers an INITIATION with four RESPONSEs."""

    breaks: ClassVar[tuple[str, ...]] = ("3-3",)

    def break_node(self, pair: RecordedPair) -> None:
        """Repeat the first answer under other numbers."""

        def fourfold(datagram: bytes) -> list[bytes]:
            if datagram[0] != 0xC2:
                return [datagram]
            made = []
            for number in range(100, 104):
                packet = datagram[:38] + number.to_bytes(4, "big") + datagram[42:-4]
                made.append(packet + crc32c(packet).to_bytes(4, "big"))
            return made

        rewrite(pair.right, fourfold)
