"""ECN counts are those of the marks that came, by the capture at the receiver's side (SPEC 8.2-1)."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.probes.wire.ends import RULES, End, Packet, Rule
from orchestrator.probes.wire.numbers import Numbers

#: Codepoints of the IP header (RFC 3168 §5) in the order of the counts.
_ECT0, _ECT1, _CE = 2, 1, 3
_CODEPOINTS = (_ECT0, _ECT1, _CE)
_NAMES = ("ECT(0)", "ECT(1)", "CE")


@RULES.register("ecn-counts")
class EcnCounts(Rule):
    """Each count lies between what was acknowledged with that mark and what came with it, and never falls."""

    requirements: ClassVar[tuple[str, ...]] = ("8.2-1",)

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self._marks: dict[int, int] = {}
        self._reported = Numbers()
        self._came = [0, 0, 0]
        self._acknowledged = [0, 0, 0]
        self._before = (0, 0, 0)

    def received(self, packet: Packet, at: int) -> None:
        """Count its mark."""
        mark = packet.datagram.arrived_ecn
        if mark and packet.number not in self._marks:
            self._marks[packet.number] = mark
            self._came[_CODEPOINTS.index(mark)] += 1

    def sent(self, packet: Packet) -> None:
        """Check the counts in an ACK."""
        ack = packet.ack
        if ack is None or not (self._marks or ack.counts is not None):
            return
        for smallest, largest in ack.intervals:
            for low, high in self._reported.add(smallest, largest):
                for number in range(low, high + 1) if self._marks else ():
                    mark = self._marks.get(number)
                    if mark is not None:
                        self._acknowledged[_CODEPOINTS.index(mark)] += 1
        if ack.counts is None:
            if any(self._acknowledged):
                self.violation(
                    packet, "8.2-1", "an ACK without ECN counts", "counts, since marked packets came"
                )
            return
        for name, count, low, high, before in zip(
            _NAMES, ack.counts, self._acknowledged, self._came, self._before, strict=True
        ):
            if not max(low, before) <= count <= high:
                found = f"{count} packets with {name} reported"
                least = f"at least {max(low, before)}, reported and acknowledged before"
                expected = least if count < max(low, before) else f"at most {high}, which came"
                self.violation(packet, "8.2-1", found, expected)
                break
        self._before = ack.counts
