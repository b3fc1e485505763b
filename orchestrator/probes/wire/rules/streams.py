"""Streams: how many, whose, and that no credit is taken back (SPEC 6-7, 6-2, 6.3)."""

from __future__ import annotations

from typing import ClassVar

from node.dissectors.scapy_layer import MaxData, MaxStreamData, MaxStreams, ResetStream
from orchestrator.probes.wire.ends import RULES, End, Packet, Rule

_BY_RESPONDER, _UNIDIRECTIONAL = 0x01, 0x02


@RULES.register("streams")
class Streams(Rule):
    """An end opens no more streams than it may, sends on no stream that is the peer's alone."""

    requirements: ClassVar[tuple[str, ...]] = ("6-7", "6-5", "6.3-1", "5-5")

    def __init__(self, end: End) -> None:
        super().__init__(end)
        peers = end.peers
        #: By whether they are unidirectional: streams that the peer lets this end open.
        self._most = (
            [peers["initial_max_streams_bidi"], peers["initial_max_streams_uni"]]
            if peers is not None
            and "initial_max_streams_bidi" in peers
            and "initial_max_streams_uni" in peers
            else None
        )
        self._announced: dict[tuple[str, int], int] = {}

    def received(self, packet: Packet, at: int) -> None:
        """Take credit for streams."""
        for frame in packet.control:
            if isinstance(frame, MaxStreams) and self._most is not None:
                kind = frame.fields["type"] & 1
                self._most[kind] = max(self._most[kind], frame.fields["maximum"])

    def rebuilt(self, packet: Packet, at: int) -> None:
        """Take credit that came by repair."""
        self.received(packet, at)

    def sent(self, packet: Packet) -> None:
        """Check the streams in a packet, and what it announces."""
        for segment in packet.segments:
            self._check(packet, segment.stream)
        for frame in packet.control:
            fields = frame.fields
            if isinstance(frame, ResetStream):
                self._check(packet, fields["stream_id"])
            elif isinstance(frame, MaxData | MaxStreamData | MaxStreams):
                subject = frame.name, fields.get("stream_id", fields["type"])
                before = self._announced.get(subject, 0)
                if fields["maximum"] < before:
                    found = f"{frame.name} of {fields['maximum']}"
                    self.violation(packet, "5-5", found, f"at least {before}, as announced before")
                self._announced[subject] = max(before, fields["maximum"])

    def _check(self, packet: Packet, stream: int) -> None:
        own = (not stream & _BY_RESPONDER) == self.end.is_initiator
        unidirectional = bool(stream & _UNIDIRECTIONAL)
        if not own and unidirectional:
            self.violation(packet, "6", f"data on stream {stream}, which is the peer's alone", "none")
        elif own and self._most is not None and (stream >> 2) >= self._most[unidirectional]:
            kind = "unidirectional" if unidirectional else "bidirectional"
            found = f"stream {stream}, the {(stream >> 2) + 1}. {kind} one"
            self.violation(packet, "6-7", found, f"at most {self._most[unidirectional]}")
