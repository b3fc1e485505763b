"""Later flights: acknowledgements have made the window as large as what is in flight (SPEC 8.1-1, 6.1-1).

The window of a sender is not on the wire, and each controller has its own. But none grows by more than what
is acknowledged, and none grows a window of which not even half was used (RFC 9002 §7.8). So it is at most the
initial one and all that was acknowledged, and at most some of the largest round trips as they were delivered.
Jumps on long paths (SPEC 8.1.1-5, 8.1.3-9) are the exception, with bounds of their own.

In flight is surely what was sent behind the largest packet that is acknowledged: no sender can hold it for
lost. What may have gone on a probe time-out is not counted.
"""

from __future__ import annotations

from collections import deque
from typing import ClassVar

from orchestrator.probes.wire.ends import INITIAL_RTT, RULES, End, Packet, Rule
from orchestrator.probes.wire.numbers import Numbers
from orchestrator.probes.wire.sightings import Path
from orchestrator.probes.wire.windows import initial_window

#: Slow start doubles what was in flight, of which half a window is enough to grow it, and half may be lost.
_ROUNDS = 8
#: draft-ietf-ccwg-bbr §2.7, BBRMinPipeCwnd: packets that one controller may always have in flight.
_LEAST_PACKETS = 4
#: A packet goes at once where a window is reduced (SPEC 8.1.1-1), and one where nothing is in flight.
_SPARE_PACKETS = 2
#: SPEC 8-2.
_PROBES = 2
#: SPEC 13.4: every path carries this, so that no probe of sizes is so small.
_SMALLEST = 1200
#: Path frames and probes of sizes start no timer (SPEC 13.2-2, 13.4-3).
_APART = {"PATH_CHALLENGE", "PATH_RESPONSE", "PING"}
#: SPEC 8.1.1-5, 8.1.3-9: from which round trip on senders jump, ns, and how far, in round trips and in bytes.
_LONG_PATH = 100_000_000
_JUMP_ROUNDS, _JUMP_BYTES = 64, 8 << 20


@RULES.register("later-flights")
class LaterFlights(Rule):
    """S from the first acknowledgement on. A path that was used before may begin with more (SPEC 8-7)."""

    requirements: ClassVar[tuple[str, ...]] = ("8.1-1", "6.1-1")

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self._over = end.connection.is_resumable
        self._acked = Numbers()
        #: Ack-eliciting packets not acknowledged: size, and bytes that were delivered when it was sent.
        self._out: dict[int, tuple[int, int]] = {}
        #: Packets with stream data behind the largest acknowledged, on the present path: number, size.
        self._flight: deque[tuple[int, int]] = deque()
        self._flying = 0
        self._newest = -1
        self._largest_size = end.first_size
        #: Bytes acknowledged; and, of it, what the end must have known of it, with what came since.
        self._delivered = self._known = 0
        self._news: deque[tuple[int, int]] = deque()
        #: The most that was delivered between a packet and its acknowledgement.
        self._round = 0
        self._leap = 0
        rtt = end.handshake_rtt()
        self._shortest_rtt = None if rtt is None else min(rtt, INITIAL_RTT)
        self._path: Path | None = None
        #: When it began to send, if nobody has moved since and the first acknowledgement is a sample of the
        #: round trip; data sent; whether jumps are ruled out.
        self._began: int | None = None
        self._sent = 0
        self._is_short = False
        self._last_sent: int | None = None
        self._probes = 0

    def received(self, packet: Packet, at: int) -> None:
        """Take an acknowledgement: the window may have grown."""
        ack = packet.ack
        if ack is None or self._over:
            return
        newest: tuple[int, int] | None = None
        for smallest, largest in ack.intervals:
            if largest > self._newest:
                continue  # SPEC 5-2: it was never sent, as is said elsewhere
            for low, high in self._acked.add(smallest, largest):
                for number in range(high, low - 1, -1):
                    found = self._out.pop(number, None)
                    if found is not None:
                        newest = newest or (number, found[1])
                        self._delivered += found[0]
        while self._flight and self._flight[0][0] <= self._acked.largest:
            self._flying -= self._flight.popleft()[1]
        if newest is None:
            return
        self._news.append((at, self._delivered))
        self._round = max(self._round, self._delivered - newest[1])
        sent = self.end.packet_numbered(newest[0])
        if sent is not None:
            self._take_sample(sent, at)

    def sent(self, packet: Packet) -> None:
        """Add it up."""
        self._newest = packet.number
        if self._over or packet.is_early or not packet.eliciting:
            return
        at, path = packet.at, packet.datagram.path
        if path != self._path:  # SPEC 13.2-6: another one, with a window and round trips of its own
            self._began = at if self._path is None else None
            self._path, self._is_short = path, False
            self._flight.clear()
            self._flying = 0
        reaction = self.end.reaction
        while self._news and self._news[0][0] <= at - reaction:
            self._known = self._news.popleft()[1]
        self._largest_size = max(self._largest_size, packet.size)
        self._out[packet.number] = packet.size, self._known
        if self._may_be_probe(packet) or not packet.segments:
            return
        self._flight.append((packet.number, packet.size))
        self._flying += packet.size
        self._sent += packet.size
        size = self._largest_size
        initial = max(initial_window(size), _LEAST_PACKETS * size) + _SPARE_PACKETS * size
        if self._sent > initial and self._began is not None and at - self._began < _LONG_PATH:
            # By now it has read an acknowledgement, and measured a round trip with the first of them.
            self._is_short, self._leap = True, 0
        window = initial + self._leap + min(self._delivered, _ROUNDS * self._round)
        if self._flying > window and self._acked.largest >= 0:
            found = f"{self._flying} bytes in flight behind packet {self._acked.largest}"
            expected = f"at most {window}: {self._delivered} were acknowledged, {self._round} in a round trip"
            self.violation(packet, "8.1-1", found, expected)
            self._over = True

    def _may_be_probe(self, packet: Packet) -> bool:
        """Return whether it may be one of two on a probe time-out, which is at least a round trip."""
        if packet.names() <= _APART:
            return True
        last, self._last_sent = self._last_sent, packet.at
        if last is None or self._shortest_rtt is None or packet.at - last >= self._shortest_rtt:
            self._probes = _PROBES
        self._probes -= 1
        return self._probes >= 0

    def _take_sample(self, sent: Packet, at: int) -> None:
        """Take a round trip: the shortest says whether the end may jump."""
        rtt = at - sent.at
        is_sample = sent.number == self._acked.largest
        if is_sample:
            self._shortest_rtt = rtt if self._shortest_rtt is None else min(self._shortest_rtt, rtt)
        if _is_of_sizes(sent):
            return
        if not is_sample and not self._leap:
            self._began = None
        # An end that stood still, or real ones, may have read it late and measured more.
        if is_sample and rtt < _LONG_PATH and not self.end.reaction and sent.datagram.path == self._path:
            self._is_short = True
        if not self._is_short:
            self._leap = max(self._leap, _JUMP_BYTES, _JUMP_ROUNDS * self._round)


def _is_of_sizes(packet: Packet) -> bool:
    """Return whether a packet may be a probe of sizes: its acknowledgement changes no window."""
    return packet.names() == {"PING"} and packet.size > _SMALLEST
