"""Packet numbers rise in the order in which packets are sent (SPEC 4-1, 3-4)."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.probes.wire.ends import RULES, End, Packet, Rule


@RULES.register("packet-numbers")
class PacketNumbers(Rule):
    """Each packet has a number above that of the one before; that it is used once, tags and bytes tell."""

    requirements: ClassVar[tuple[str, ...]] = ("3-4", "4-1", "4-3")

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self._last = -1

    def sent(self, packet: Packet) -> None:
        """Compare with the packet before."""
        if packet.number <= self._last:
            found = f"packet number {packet.number} sent after {self._last}"
            self.violation(packet, "4-1", found, "numbers that rise with every packet sent")
        if packet.datagram.departures > 1:
            found = f"packet {packet.number} sent {packet.datagram.departures} times"
            self.violation(packet, "4-1", found, "a new number for each packet")
        self._last = max(self._last, packet.number)
