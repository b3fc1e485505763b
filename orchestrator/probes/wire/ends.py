"""One end of a connection as a watcher beside it sees it: what it received and what it sent, in order.

The rules (``rules``) are told of both in turn. What came to an end and what it sent at one instant are taken
in the order that is right, if that is not what cannot have been: virtual time has such instants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, ClassVar

from node.dissectors.scapy_layer import EARLY, Ack, FecRecovered, Frame, Padding
from node.registry import Registry
from orchestrator.probes.wire.frames import AckFrame, AnyFrame, StreamFrame
from orchestrator.probes.wire.sightings import Datagram
from orchestrator.probes.wire.suspects import Suspects

if TYPE_CHECKING:
    from orchestrator.probes.wire.connections import Connection

#: SPEC 13.4: what a sender may begin with, if its user vouches for nothing larger.
FIRST_SIZE = 1452
#: A node that was not paused has read what came this long ago, if time is real.
REACTION = 500_000_000
#: RFC 9002 §6.2.2: the round trip that a sender assumes before it has measured one, ns.
INITIAL_RTT = 333_000_000


@dataclass(slots=True, eq=False)
class Segment:
    """A piece of a stream in a packet: bytes [start, end)."""

    stream: int
    start: int
    end: int


@dataclass(slots=True, eq=False)
class Packet:
    """A DATA or EARLY packet that opened: what rules look at."""

    datagram: Datagram
    number: int
    connection_id: bytes
    phase: int
    segments: list[Segment]
    ack: AckFrame | None
    #: Its frames but for stream data, ACK and PADDING.
    control: list[Frame]
    eliciting: bool
    #: When it was sent, ns.
    at: int
    #: UDP payload bytes.
    size: int
    #: Whether it is an EARLY packet (SPEC 15-3).
    is_early: bool

    @classmethod
    def of(cls, datagram: Datagram, number: int, phase: int, frames: list[AnyFrame]) -> Packet:
        """Return what rules look at in a packet with these frames (MalformedError: an ACK cannot be read)."""
        segments: list[Segment] = []
        control: list[Frame] = []
        ack, eliciting = None, False
        for frame in frames:
            if isinstance(frame, StreamFrame):
                segments.append(Segment(frame.stream, frame.offset, frame.end))
                eliciting = True
            elif isinstance(frame, AckFrame):
                ack = frame
            else:
                eliciting = eliciting or frame.eliciting
                if isinstance(frame, Ack) and not isinstance(frame, FecRecovered):
                    frame.intervals()
                if not isinstance(frame, Padding):
                    control.append(frame)
        payload, cid = datagram.payload, bytes(datagram.payload[1:9])
        is_early = payload[0] == EARLY
        told = datagram.at, len(payload), is_early
        return cls(datagram, number, cid, phase, segments, ack, control, eliciting, *told)

    def names(self) -> frozenset[str]:
        """Return the names of its frames, but for PADDING."""
        plain = _PLAIN_NAMES[2 * bool(self.segments) + (self.ack is not None)]
        return plain.union(frame.name for frame in self.control) if self.control else plain


#: By whether a packet has stream data, and an ACK.
_PLAIN_NAMES = tuple(map(frozenset[str], ((), ("ACK",), ("STREAM",), ("STREAM", "ACK"))))


class Rule:
    """A rule of conduct, checked at one end of one connection; one file of ``rules`` each.

    Args:
        end: what it is checked at.
    """

    #: The requirements of SPEC.md that it checks.
    requirements: ClassVar[tuple[str, ...]]

    def __init__(self, end: End) -> None:
        self.end = end

    def received(self, packet: Packet, at: int) -> None:
        """Take that ``packet`` of the peer came at ``at``."""

    def rebuilt(self, packet: Packet, at: int) -> None:
        """Take that this end has reported at ``at`` to have rebuilt ``packet`` (SPEC 12.4)."""

    def sent(self, packet: Packet) -> None:
        """Take that this end sent ``packet``."""

    def over(self) -> None:
        """Take that this was all."""

    def violation(self, packet: Packet, rule: str, found: str, expected: str) -> None:
        """Report what this end did by sending ``packet``."""
        self.end.suspects.misconduct(packet.datagram, rule, found, expected)


RULES: Registry[type[Rule]] = Registry("wire rule", "orchestrator.probes.wire.rules")


@dataclass(slots=True)
class End:
    """What all rules may know of an end of a connection."""

    connection: Connection
    #: 0: the initiator, 1: the responder.
    index: int
    suspects: Suspects
    is_virtual: bool
    #: Bytes of the largest datagrams that an end may begin with (SPEC 13.4).
    first_size: int = FIRST_SIZE
    #: The longest that the timeline lets its node stand still, ns: what came then it finds afterwards.
    stands_still: int = 0
    #: Transport parameters (SPEC 3.2) of this end and of its peer; None: not known.
    own: Mapping[str, int] | None = field(init=False)
    peers: Mapping[str, int] | None = field(init=False)

    def __post_init__(self) -> None:
        both = self.connection.secrets.parameters
        self.own, self.peers = (None, None) if both is None else (both[self.index], both[1 - self.index])

    @property
    def is_initiator(self) -> bool:
        """Whether it began the connection."""
        return self.index == 0

    @property
    def reaction(self) -> int:
        """How long after a packet came the end may not know of it, ns."""
        return self.stands_still + (0 if self.is_virtual else REACTION)

    def packet_numbered(self, number: int) -> Packet | None:
        """Return the packet that this end sent under ``number``."""
        return self.connection.flows[self.index].sent.get(number)

    def handshake_rtt(self) -> int | None:
        """Return the shortest round trip that the handshake can have shown to this end, ns; None: unknown."""
        connection = self.connection
        asked, answered = connection.initiation, connection.response
        if asked is None or answered is None:
            return None
        if self.is_initiator:
            began = [one.at for one in asked.by_number.values()]
            came = [one.delivered for one in answered.by_number.values()]
        else:
            began = [one.at for one in answered.by_number.values()]
            came = [packet.datagram.delivered for packet in connection.flows[0].sent.values()]
            if connection.completion is not None:
                came += [one.delivered for one in connection.completion.by_number.values()]
        # The last question before the first answer: whichever of them it was that was answered.
        first = min((at for at in came if at is not None), default=None)
        before = [at for at in began if first is not None and at <= first]
        if first is None or not before:
            return None
        # Who asked twice does not know which was answered, and takes no sample.
        return min(first - max(before), INITIAL_RTT) if len(before) > 1 else first - max(before)


#: Events at one instant in the order that is right.
_RECEIVED, _REBUILT, _SENT = range(3)


def watch(end: End) -> None:
    """Tell all rules what the end received and sent, in order."""
    rules = [RULES[name](end) for name in RULES.names()]
    received = [rule.received for rule in rules if type(rule).received is not Rule.received]
    rebuilt = [rule.rebuilt for rule in rules if type(rule).rebuilt is not Rule.rebuilt]
    sent = [rule.sent for rule in rules if type(rule).sent is not Rule.sent]
    events = _events(end)
    events.sort(key=itemgetter(0))
    kinds = {_RECEIVED: received, _REBUILT: rebuilt}
    for (at, *_), kind, packet in events:
        if kind == _SENT:
            for told in sent:
                told(packet)
        else:
            for came in kinds[kind]:
                came(packet, at)
    for rule in rules:
        rule.over()


#: When, and its place among what happened at that instant: a kind, and what counts within it.
_Order = tuple[int, int, int, int]


def _events(end: End) -> list[tuple[_Order, int, Packet]]:
    flow, other = end.connection.flows[end.index], end.connection.flows[1 - end.index]
    events: list[tuple[_Order, int, Packet]] = [
        ((packet.at, _SENT, packet.datagram.frame, 0), _SENT, packet) for packet in flow.sent.values()
    ]
    for packet in chain(other.sent.values(), other.slipped):
        at = packet.datagram.delivered
        if at is not None:
            events.append((_order_received(end, packet, at), _RECEIVED, packet))
    if flow.recovered:
        came = {one.number: one.datagram.delivered for one in other.sent.values()}
        for one in other.slipped:
            times = one.datagram.delivered, came.get(one.number)
            came[one.number] = min((at for at in times if at is not None), default=None)
        for number, first in flow.rebuilt_at(other.sent).items():
            at = came.get(number)
            if at is None or first < at:
                events.append(((first, _REBUILT, number, 0), _REBUILT, other.sent[number]))
    return events


def _order_received(end: End, packet: Packet, at: int) -> _Order:
    """Return where a packet belongs that came: an acknowledgement is never before what it acknowledges.

    On a path without delay both are of one instant.
    """
    if packet.ack is not None:
        acked = end.packet_numbered(packet.ack.intervals[0][1])
        if acked is not None and acked.at == at:
            return at, _SENT, acked.datagram.frame, 1
    return at, _RECEIVED, packet.number, 0
