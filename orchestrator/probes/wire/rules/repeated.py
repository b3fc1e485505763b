"""Data is sent again only when a packet with it was lost, as its sender sees it (SPEC 8-8, 8-1, 7-2, 7-3).

What its sender may have seen is taken from the captures: acknowledgements that had come, and instants. Its
estimates are not on the wire; each is bounded from below by the shortest round trip that it can have
measured, so a right sender is never blamed. A probe time-out allows two packets to repeat what is not lost.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import ClassVar

from orchestrator.probes.wire.ends import RULES, End, Packet, Rule
from orchestrator.probes.wire.numbers import Numbers
from orchestrator.probes.wire.sent_bytes import Piece, SentBytes
from orchestrator.probes.wire.sightings import Path

_PACKET_THRESHOLD = 3
#: RFC 9002 §6.1.2: 9/8 of a round trip; a little less for what clocks do to our measure of it.
_TIME_THRESHOLD = 1.1
#: RFC 9002 §6.2.1: a probe time-out is at least a round trip, this, and the peer's max_ack_delay.
_GRANULARITY = 1_000_000
#: RFC 9002 §6.2.2: what an end goes by that cannot tell which of its handshake packets was answered.
_INITIAL_RTT = 333_000_000
#: SPEC 8-2.
_PROBES = 2
_APART = {"PATH_CHALLENGE", "PATH_RESPONSE", "PING"}
_STOP_AND_WAIT, _GO_BACK_N = 2, 3


@RULES.register("repeated")
class Repeated(Rule):
    """Every byte that goes again has a packet that was lost with it, or is one of two probes."""

    requirements: ClassVar[tuple[str, ...]] = ("8-1", "8-2", "8-8", "7-2", "7-3", "6.1-1")

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self._streams: dict[int, SentBytes] = {}
        self._acked = Numbers()
        #: The shortest that was seen; None: none was.
        self._measured = _at_first(end.handshake_rtt())
        #: The last, where nobody has moved: what was sent on another path counts for none (SPEC 13.2-6).
        self._latest = 0
        #: When acknowledgements came; the largest number then, and how long a packet was waited for.
        self._heard: list[int] = []
        self._delays: list[tuple[int, float]] = []
        self._path: Path | None = None
        self._last_eliciting: int | None = None
        #: Packets that may go on a probe time-out, and when that was.
        self._probes = 0
        self._timed_out: int | None = None
        #: Packets that went again on it.
        self._probed: set[int] = set()
        #: go-back-n: packets sent up to here go again as they come.
        self._stepped_back = self._newest = -1
        #: ... up to here losses have made it step back.
        self._looked_at = -1
        #: stop-and-wait: the packet with data that is out.
        self._out: Packet | None = None
        own = end.own
        self._arq = 0 if own is None else own.get("arq", 0)
        #: SPEC 7-2: stop-and-wait counts no delay of acknowledgements.
        counts = end.peers is not None and self._arq != _STOP_AND_WAIT
        self._ack_delay = end.peers.get("max_ack_delay", 0) * _GRANULARITY if counts and end.peers else 0

    def received(self, packet: Packet, at: int) -> None:
        """Take an acknowledgement."""
        if packet.ack is None:
            return
        if self._arq == _GO_BACK_N and (self._steps_back(at) or self._may_still_step_back()):
            # What was held for lost until now goes again with all behind it, even if this acknowledges it.
            self._stepped_back = self._newest
        largest = packet.ack.intervals[0][1]
        sent = self.end.packet_numbered(largest)
        for smallest, high in packet.ack.intervals:
            new = self._acked.add(smallest, high)
            # A sample is of the largest, if it is new (RFC 9002 §5.1).
            if new and new[-1][1] == largest and sent is not None:
                rtt = at - sent.at
                if self._latest >= 0:
                    # What is no sample to the sender (SPEC 13.4-3) can only lower what is known of its last.
                    is_sample = bool(sent.segments)
                    self._latest = rtt if is_sample else min(self._latest, rtt)
                self._measured = rtt if self._measured is None else min(self._measured, rtt)
        self._heard.append(at)
        self._delays.append((self._acked.largest, _TIME_THRESHOLD * max(self._rtt, self._latest)))

    def sent(self, packet: Packet) -> None:
        """Check what it repeats."""
        at, self._newest = packet.at, packet.number
        path = packet.datagram.path
        if path != self._path:
            self._latest = 0 if self._path is None else -1
            self._path = path
        # Path frames and probes of sizes start no timer (SPEC 13.2-2, 13.4-3).
        if packet.eliciting and not packet.names() <= _APART:
            if self._is_timeout(at):
                self._probes, self._timed_out = _PROBES, at
                self._probed.clear()
                self._stepped_back = packet.number - 1
            self._last_eliciting = at
        if packet.segments and self._arq == _STOP_AND_WAIT:
            self._wait(packet)
        used = False
        for segment in packet.segments:
            stream = self._streams.get(segment.stream)
            if stream is None:
                stream = self._streams[segment.stream] = SentBytes()
            for piece in stream.send(segment.start, segment.end, packet.number):
                if self._is_justified(piece, at):
                    continue
                if not used and not self._take_probe(piece, at):
                    self._blame(packet, segment.stream, piece)
                    return
                used = True

    @property
    def _rtt(self) -> int:
        return self._measured or 0

    @property
    def _shortest_timeout(self) -> int:
        return self._rtt + _GRANULARITY + self._ack_delay

    def _is_timeout(self, at: int) -> bool:
        return (
            self._last_eliciting is not None
            and at - self._last_eliciting >= self._shortest_timeout
            and at != self._timed_out
        )

    def _take_probe(self, piece: Piece, at: int) -> bool:
        """Use one of the two probes of a time-out; they go one behind the other.

        A packet may go again in several, where packets have become smaller (SPEC 13.4-4).
        """
        if self._timed_out is None or at - self._timed_out > self._shortest_timeout:
            return False
        if not self._probed.isdisjoint(piece.carriers):
            return True
        if not self._probes:
            return False
        self._probes -= 1
        self._probed.update(piece.carriers)
        return True

    def _is_justified(self, piece: Piece, at: int) -> bool:
        """Return whether a packet that carried the piece was lost; it counts once."""
        for index, number in enumerate(piece.carriers):
            if self._was_lost(number, at):
                del piece.carriers[index]
                return True
        return self._arq == _GO_BACK_N and self._steps_back(at)

    def _steps_back(self, at: int) -> bool:
        """SPEC 7-3: whatever was lost since the last step back, all that went since goes again."""
        for number in self._acked.missing_above(self._looked_at):
            if self.end.packet_numbered(number) is not None and self._was_lost(number, at):
                self._looked_at = number
                return True
        return False

    def _may_still_step_back(self) -> bool:
        """Return whether what can have been held for lost is still missing: it may be so from now on only."""
        return self._looked_at >= 0 and self._looked_at not in self._acked

    def _was_lost(self, number: int, at: int) -> bool:
        sent = self.end.packet_numbered(number)
        if sent is None or sent.is_early:
            return True  # SPEC 15-7: refused data goes again without loss
        if sent.datagram.path != self._path:
            return True  # SPEC 13.2-6: when an end gives up what went another way, its new estimates say
        ahead = self._acked.largest - number
        lost = ahead >= _PACKET_THRESHOLD or (ahead > 0 and self._was_late(sent, at))
        if lost and self._arq == _GO_BACK_N:
            # SPEC 7-3: all that went since goes again.
            self._stepped_back = self._newest - 1
        return lost or (self._arq == _GO_BACK_N and number <= self._stepped_back)

    def _was_late(self, sent: Packet, at: int) -> bool:
        """Return whether there was an instant up to ``at`` at which the time threshold had passed.

        The threshold follows the last sample; what is lost by it may have to wait before it goes again.
        """
        first = bisect_left(self._heard, sent.at)
        for index in range(first, len(self._heard)):
            largest, delay = self._delays[index]
            until = self._heard[index + 1] if index + 1 < len(self._heard) else at
            if largest > sent.number and until - sent.at >= delay:
                return True
        return False

    def _blame(self, packet: Packet, stream: int, piece: Piece) -> None:
        where = f"bytes {piece.start} to {piece.end} of stream {stream}"
        found = f"{where} again, sent in packet {piece.carriers[-1]}"
        acked = [number for number in piece.carriers if number in self._acked]
        expected = "nothing that is acknowledged" if acked else "a loss or a probe time-out first"
        self.violation(packet, "8-8", found, expected)

    def _wait(self, packet: Packet) -> None:
        """SPEC 7-2: at most one packet with stream data is out, probes aside."""
        out, self._out = self._out, packet
        if out is None or out.is_early or out.number in self._acked or self._was_lost(out.number, packet.at):
            return
        if self._timed_out is None or self._timed_out <= out.at:
            found = f"stream data while packet {out.number} is not acknowledged"
            self.violation(packet, "7-2", found, "one packet at a time")


def _at_first(handshake: int | None) -> int | None:
    """Return the shortest round trip that an end may go by before its first sample, ns."""
    return None if handshake is None else min(handshake, _INITIAL_RTT)
