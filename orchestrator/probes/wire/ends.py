"""One end of a connection as a watcher beside it sees it: what it received and what it sent, in order.

The rules (``rules``) are told of both in turn. What came to an end and what it sent at one instant are taken
in the order that is right, if that is not what cannot have been: virtual time has such instants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
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
        cid = bytes(datagram.payload[1:9])
        return cls(datagram, number, cid, phase, segments, ack, control, eliciting)

    @property
    def is_early(self) -> bool:
        """Whether it is an EARLY packet (SPEC 15-3)."""
        return bool(self.datagram.payload[0] == EARLY)

    @property
    def at(self) -> int:
        """When it was sent, ns."""
        return self.datagram.at

    @property
    def size(self) -> int:
        """UDP payload bytes."""
        return len(self.datagram.payload)

    def names(self) -> set[str]:
        """Return the names of its frames, but for PADDING."""
        found = {frame.name for frame in self.control}
        if self.segments:
            found.add("STREAM")
        if self.ack is not None:
            found.add("ACK")
        return found


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


class _Kind(IntEnum):
    """Events at one instant in the order that is right."""

    RECEIVED = 0
    REBUILT = 1
    SENT = 2


def watch(end: End) -> None:
    """Tell all rules what the end received and sent, in order."""
    rules = [RULES[name](end) for name in RULES.names()]
    received = [rule.received for rule in rules if type(rule).received is not Rule.received]
    rebuilt = [rule.rebuilt for rule in rules if type(rule).rebuilt is not Rule.rebuilt]
    sent = [rule.sent for rule in rules if type(rule).sent is not Rule.sent]
    for (at, *_), kind, packet in sorted(_events(end), key=itemgetter(0)):
        if kind is _Kind.SENT:
            for told in sent:
                told(packet)
        else:
            for came in received if kind is _Kind.RECEIVED else rebuilt:
                came(packet, at)
    for rule in rules:
        rule.over()


#: When, and its place among what happened at that instant: a kind, and what counts within it.
_Order = tuple[int, _Kind, int, int]


def _events(end: End) -> Iterator[tuple[_Order, _Kind, Packet]]:
    flow, other = end.connection.flows[end.index], end.connection.flows[1 - end.index]
    for packet in flow.sent.values():
        yield (packet.at, _Kind.SENT, packet.datagram.frame, 0), _Kind.SENT, packet
    came: dict[int, int] = {}
    for packet in (*other.sent.values(), *other.slipped):
        if packet.datagram.delivered is not None:
            at = packet.datagram.delivered
            came[packet.number] = min(at, came.get(packet.number, at))
            yield _order_received(end, packet, at), _Kind.RECEIVED, packet
    if not flow.recovered:
        return
    for number, packet in other.sent.items():
        reports = (
            one.datagram.at
            for one in flow.recovered
            if any(low <= number <= high for low, high in one.intervals)
        )
        first = min(reports, default=None)
        if first is not None and first < came.get(number, first + 1):
            yield (first, _Kind.REBUILT, number, 0), _Kind.REBUILT, packet


def _order_received(end: End, packet: Packet, at: int) -> _Order:
    """Return where a packet belongs that came: an acknowledgement is never before what it acknowledges.

    On a path without delay both are of one instant.
    """
    acked = None if packet.ack is None else end.packet_numbered(packet.ack.intervals[0][1])
    if acked is not None and acked.at == at:
        return at, _Kind.SENT, acked.datagram.frame, 1
    return at, _Kind.RECEIVED, packet.number, 0
