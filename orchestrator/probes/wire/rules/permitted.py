"""Frames that an end may send: by its role, by what was agreed on, and in EARLY packets (SPEC 12-2, 15)."""

from __future__ import annotations

from typing import ClassVar

from node.dissectors.scapy_layer import FecRecovered, FecRepair, NewTicket
from orchestrator.probes.wire.ends import RULES, End, Packet, Rule

#: SPEC 15-3.
_MOST_EARLY = 65536


@RULES.register("permitted")
class Permitted(Rule):
    """SPEC 12-2, 15-2, 15-3, and that a packet asks for something or says something."""

    requirements: ClassVar[tuple[str, ...]] = ("12-2", "12-3", "15-1", "15-2", "15-3", "15-7")

    def __init__(self, end: End) -> None:
        super().__init__(end)
        connection = end.connection
        both = connection.secrets.parameters
        self._has_fec = both is None or all(one.get("fec") for one in both)
        self._early: dict[int, int] = {}
        response = connection.response
        times = [] if response is None else [one.delivered for one in response.by_number.values()]
        self._answered = min((at for at in times if at is not None), default=None)

    def sent(self, packet: Packet) -> None:
        """Check the frames of a packet."""
        for frame in packet.control:
            if isinstance(frame, FecRepair | FecRecovered) and not self._has_fec:
                self.violation(packet, "12-2", f"{frame.name} without an agreement on FEC", "none")
            if isinstance(frame, NewTicket) and self.end.is_initiator:
                self.violation(packet, "15-2", "NEW_TICKET of an initiator", "of responders alone")
            elif isinstance(frame, NewTicket) and not self.end.connection.secrets.profile.startswith("aead"):
                self.violation(packet, "15-1", "NEW_TICKET in clear", "in the aead profile alone")
        if not packet.is_early:
            return
        if self._answered is not None and packet.at > self._answered + self.end.reaction:
            self.violation(packet, "15-3", "an EARLY packet after RESPONSE had come", "DATA packets")
        for segment in packet.segments:
            self._early[segment.stream] = max(segment.end, self._early.get(segment.stream, 0))
        if sum(self._early.values()) > _MOST_EARLY:
            found = f"{sum(self._early.values())} bytes of early data"
            self.violation(packet, "15-3", found, f"at most {_MOST_EARLY}")
