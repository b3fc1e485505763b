"""Ends: nothing after RESET_STREAM on its stream, nothing but CLOSE after CLOSE, nothing after the peer's."""

from __future__ import annotations

from typing import ClassVar

from node.dissectors.scapy_layer import Close, ResetStream
from orchestrator.probes.wire.ends import RULES, End, Packet, Rule


@RULES.register("endings")
class Endings(Rule):
    """SPEC 9-1, 6.2-4, 4.3-5."""

    requirements: ClassVar[tuple[str, ...]] = ("9-1", "6.2-4", "6-4", "12.5-4", "4.3-5")

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self._reset: set[int] = set()
        self._closed = False
        #: When the peer's CLOSE came, by where to: a socket that moves away does not get it.
        self._told: dict[tuple[bytes, int], int] = {}

    def received(self, packet: Packet, at: int) -> None:
        """Look for CLOSE."""
        if any(isinstance(frame, Close) for frame in packet.control):
            self._told.setdefault(packet.datagram.arrived_to, at)

    def sent(self, packet: Packet) -> None:
        """Look for what ends, and for what comes after it."""
        closes = [isinstance(frame, Close) for frame in packet.control]
        if self._closed and not (closes and all(closes) and not packet.segments):
            self.violation(packet, "9-1", f"{_named(packet)} after CLOSE was sent", "CLOSE alone")
        elif self._knows(packet) and not self._closed:
            self.violation(packet, "9-1", f"{_named(packet)} after the peer's CLOSE had come", "nothing more")
        reset_at = self.end.connection.reset_at[self.end.index]
        if reset_at is not None and packet.at > reset_at + self.end.reaction:
            self.violation(packet, "4.3-5", f"{_named(packet)} after a STATELESS_RESET had come", "nothing")
        for segment in packet.segments:
            if segment.stream in self._reset:
                found = f"data of stream {segment.stream} after RESET_STREAM"
                self.violation(packet, "6.2-4", found, "none of it, sent or repeated")
                break
        for frame in packet.control:
            if isinstance(frame, ResetStream):
                self._reset.add(frame.fields["stream_id"])
        self._closed = self._closed or any(closes)

    def _knows(self, packet: Packet) -> bool:
        """Return whether the peer's CLOSE had come to the socket that now sends."""
        told = self._told.get((packet.datagram.source, packet.datagram.source_port))
        return told is not None and packet.at > told + self.end.reaction


def _named(packet: Packet) -> str:
    return ", ".join(sorted(packet.names())) or "PADDING"
