"""Acknowledged is what came, by the capture at the receiver's side, with the delay since then (SPEC 5-8)."""

from __future__ import annotations

from typing import ClassVar

from orchestrator.probes.wire.ends import RULES, End, Packet, Rule
from orchestrator.probes.wire.numbers import Numbers

_MICROSECOND = 1000


@RULES.register("acknowledgements")
class Acknowledgements(Rule):
    """No ACK names a packet that was lost on the way, nor says a delay longer than there was."""

    requirements: ClassVar[tuple[str, ...]] = ("5-8", "12-1", "12.4-2", "7-3", "6-6")

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self._received = Numbers()
        self._times: dict[int, int] = {}

    def received(self, packet: Packet, at: int) -> None:
        """Note it."""
        self._received.add(packet.number, packet.number)
        self._times.setdefault(packet.number, at)

    def sent(self, packet: Packet) -> None:
        """Check the ACK in a packet."""
        ack = packet.ack
        if ack is None:
            return
        for smallest, largest in ack.intervals:
            missing = self._received.first_missing(smallest, largest)
            if missing is None:
                continue
            # What was never sent is said by SPEC 5-2 already.
            sent = self.end.connection.flows[1 - self.end.index].sent.get(missing)
            if sent is not None and sent.at <= packet.at:
                found = f"an ACK of packet {missing}, which had not come"
                self.violation(packet, "5-8", found, "only what was received")
            return
        waited = packet.at - self._times[ack.intervals[0][1]]
        if ack.delay * _MICROSECOND > waited + _MICROSECOND:
            found = f"an ACK delay of {ack.delay} µs"
            self.violation(packet, "5-8", found, f"at most {waited // _MICROSECOND} µs, since it came")
