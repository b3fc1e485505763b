"""Key phases: none begins before the present one is acknowledged; each end follows the other (SPEC 4.2)."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.probes.wire.ends import RULES, End, Packet, Rule


@RULES.register("key-phases")
class KeyPhases(Rule):
    """SPEC 4.2-3, 4.2-4."""

    requirements: ClassVar[tuple[str, ...]] = ("4.2-3", "4.2-4", "4.2-7")

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self._phase = 0
        #: The lowest number of the present phase, and the largest that was acknowledged.
        self._first = 0
        self._acked = -1
        #: Phases of the peer's packets by number, for those above ours.
        self._peers: dict[int, int] = {}

    def received(self, packet: Packet, at: int) -> None:
        """Take phase and acknowledgement."""
        if packet.phase > self._phase:
            self._peers[packet.number] = packet.phase
        if packet.ack is not None:
            self._acked = max(self._acked, packet.ack.intervals[0][1])

    def sent(self, packet: Packet) -> None:
        """Check the phase of a packet."""
        if packet.phase > self._phase:
            followed = any(phase >= packet.phase for phase in self._peers.values())
            if self._acked < self._first and not followed:
                found = f"key phase {packet.phase} before anything of phase {self._phase} was acknowledged"
                self.violation(packet, "4.2-3", found, "an acknowledgement first")
            self._phase, self._first = packet.phase, packet.number
            self._peers = {n: phase for n, phase in self._peers.items() if phase > self._phase}
        if packet.ack is None or not self._peers:
            return
        for smallest, largest in packet.ack.intervals:
            above = [phase for n, phase in self._peers.items() if smallest <= n <= largest]
            if above and max(above) > packet.phase:
                found = f"an ACK in key phase {packet.phase} of a packet in phase {max(above)}"
                self.violation(packet, "4.2-4", found, "a phase not below it")
                return
