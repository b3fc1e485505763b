"""Marks are ECT(0), on ack-eliciting DATA packets of a path that carries them (SPEC 8.2-2, 8.2-3)."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.probes.wire.ends import RULES, End, Packet, Rule
from orchestrator.probes.wire.numbers import Numbers

_ECT0 = 2
#: SPEC 8.2-2: the first ten, and up to the end of the tenth's burst of at most 64.
_TESTING = 10 + 63


@RULES.register("ecn-marks")
class EcnMarks(Rule):
    """Marks before, during and after validation."""

    requirements: ClassVar[tuple[str, ...]] = ("8.2-2", "8.2-3")

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self._marked: set[int] = set()
        self._acked = Numbers()
        self._path: tuple[bytes, int, bytes, int, bytes] | None = None
        self._on_path = 0
        self._validated = False
        self._failed: str | None = None

    def received(self, packet: Packet, at: int) -> None:
        """Take what the peer says of marks."""
        ack = packet.ack
        if ack is None or not self._marked:
            return
        advances = ack.intervals[0][1] > self._acked.largest
        newly = 0
        for smallest, largest in ack.intervals:
            for low, high in self._acked.add(smallest, largest):
                newly += sum(number in self._marked for number in range(low, high + 1))
        if not advances or not newly:
            return
        if ack.counts is None:
            self._failed = "an ACK of marked packets without ECN counts"
        elif ack.counts[1]:
            self._failed = "an ACK that counts ECT(1)"
        elif self._failed is None:
            self._validated = True

    def sent(self, packet: Packet) -> None:
        """Look at the mark."""
        datagram = packet.datagram
        path = (
            datagram.source, datagram.source_port, datagram.destination, datagram.destination_port,
            packet.connection_id,
        )  # fmt: skip
        if path != self._path:
            # Another ID may mean another path, or not; a path that was left may be as it was (SPEC 13.2-6).
            self._validated, self._failed = self._path is not None, None
            self._path, self._on_path = path, 0
        if not datagram.ecn:
            return
        if datagram.ecn != _ECT0:
            self.violation(packet, "8.2-2", f"ECN codepoint {datagram.ecn} as it was sent", "ECT(0) or none")
        elif not packet.eliciting:
            self.violation(packet, "8.2-2", "ECT(0) on a packet that asks for no acknowledgement", "no mark")
        elif self._failed is not None:
            self.violation(packet, "8.2-3", f"ECT(0) after {self._failed}", "no marks on this path any more")
        elif not self._validated and self._on_path >= _TESTING:
            found = f"ECT(0) on packet {self._on_path + 1} of the path before marks are validated"
            self.violation(packet, "8.2-2", found, "the first ten, and up to the end of a burst")
        self._on_path += 1
        self._marked.add(packet.number)
