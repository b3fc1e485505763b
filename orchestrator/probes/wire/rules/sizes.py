"""Sizes: no packet above what the peer accepts, no data above what the path has carried (SPEC 13.4, 4-4)."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.probes.wire.ends import RULES, End, Packet, Rule


@RULES.register("sizes")
class Sizes(Rule):
    """Larger packets than the first are proven by a probe that was acknowledged."""

    requirements: ClassVar[tuple[str, ...]] = ("4-4", "13.4-1")

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self._known = end.first_size
        self._probes: dict[int, int] = {}

    def received(self, packet: Packet, at: int) -> None:
        """Look for the acknowledgement of a probe."""
        if packet.ack is None or not self._probes:
            return
        for smallest, largest in packet.ack.intervals:
            for number in [n for n in self._probes if smallest <= n <= largest]:
                self._known = max(self._known, self._probes.pop(number))

    def sent(self, packet: Packet) -> None:
        """Check the length of a packet."""
        size = packet.size
        if self.end.peers is not None and size > self.end.peers.get("max_datagram_size", size):
            most = self.end.peers["max_datagram_size"]
            self.violation(packet, "4-4", f"a packet of {size} bytes", f"at most {most}, as the peer accepts")
        if size <= self._known:
            return
        if packet.names() == {"PING"}:
            self._probes[packet.number] = size
        elif packet.segments:
            found = f"stream data in a packet of {size} bytes"
            self.violation(packet, "13.4", found, f"at most {self._known}, which the path has carried")
