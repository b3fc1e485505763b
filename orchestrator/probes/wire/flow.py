"""One direction of a connection: its packets, what they carry, and what they may."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from node.dissectors.protection import HEADER_BYTES, TAG_BYTES
from node.dissectors.scapy_layer import (
    Ack,
    Close,
    FecRecovered,
    FecRepair,
    MalformedError,
    MaxData,
    MaxStreamData,
    ResetStream,
)
from orchestrator.probes.wire.ends import Packet
from orchestrator.probes.wire.frames import AckFrame, AnyFrame, StreamFrame, read_frames
from orchestrator.probes.wire.numbers import Numbers
from orchestrator.probes.wire.sightings import Datagram
from orchestrator.probes.wire.streams import StreamBytes
from orchestrator.probes.wire.suspects import Suspects

#: SPEC 5-3.
_MAX_RANGES = 64
#: SPEC 12.4-5.
_MAX_RECOVERED_RANGES = 32
_UNIDIRECTIONAL = 0x02


@dataclass(slots=True)
class Claim:
    """What a packet used of the receiver's windows: stream → end of its data there."""

    datagram: Datagram
    ends: list[tuple[int, int]]


@dataclass(slots=True)
class Announcement:
    """A maximum that a packet announced: of a stream, or of the connection (stream None)."""

    datagram: Datagram
    stream: int | None
    maximum: int


@dataclass(slots=True)
class Acknowledgement:
    """The numbers that a packet acknowledged, or names otherwise, as (smallest, largest)."""

    datagram: Datagram
    intervals: list[tuple[int, int]]


@dataclass(slots=True, eq=False)
class Flow:
    """What one end of a connection sent."""

    packets: dict[int, Datagram] = field(default_factory=dict)
    #: The same, as rules look at them; and damaged copies whose tag is right nevertheless.
    sent: dict[int, Packet] = field(default_factory=dict)
    #: Packets of ``aead`` that did not open.
    unopened: list[Datagram] = field(default_factory=list)
    slipped: list[Packet] = field(default_factory=list)
    largest: int = -1
    streams: dict[int, StreamBytes] = field(default_factory=dict)
    #: Streams by whether they carry a message.
    message_streams: dict[int, bool] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    announcements: list[Announcement] = field(default_factory=list)
    acknowledgements: list[Acknowledgement] = field(default_factory=list)
    #: What FEC_RECOVERED reported of the other direction, and what FEC_REPAIR protects of this one.
    recovered: list[Acknowledgement] = field(default_factory=list)
    protected: list[Acknowledgement] = field(default_factory=list)

    def take(self, datagram: Datagram, frames: list[AnyFrame], suspects: Suspects) -> None:
        """Take the frames of a packet whose tag is right, and check what needs no other packet."""
        ends: list[tuple[int, int]] = []
        for frame in frames:
            try:
                problem = self._take(datagram, frame, ends)
            except (MalformedError, UnicodeDecodeError) as error:
                rule = error.rule if isinstance(error, MalformedError) else "5-1"
                problem = (rule, f"{frame.name}: {error}", "a frame that can be read")
            if problem is not None:
                suspects.add(datagram, *problem, intact=True)
        if ends:
            self.claims.append(Claim(datagram, ends))

    def rebuilt_at(self, other: Mapping[int, object]) -> dict[int, int]:
        """Return when this end first reported that it rebuilt packets of the other, by their numbers.

        Such a packet was received by repair, whatever became of it on the way.

        Args:
            other: by number, what the other end has sent, or that of it which is asked for.
        """
        found: dict[int, int] = {}
        reported = Numbers()
        for report in sorted(self.recovered, key=lambda report: report.datagram.at):
            for interval in report.intervals:
                for low, high in reported.add(*interval):
                    numbers = range(low, high + 1)
                    # Of a range that is longer than all that was sent not every number is looked at.
                    some = numbers if len(numbers) < len(other) else [n for n in other if n in numbers]
                    found |= {number: report.datagram.at for number in some if number in other}
        return found

    def in_clear(self) -> Iterator[Datagram]:
        """Yield what did not open and holds data of a stream where that stands in the stream.

        Ciphertext often reads as a STREAM frame to the packet's end; but never as one with the right bytes.
        """
        for datagram in self.unopened:
            try:
                frames = read_frames(bytes(datagram.payload[HEADER_BYTES : -TAG_BYTES["aead"]]))
            except MalformedError:
                continue
            pieces = [frame for frame in frames if isinstance(frame, StreamFrame)]
            if any(
                piece.stream in self.streams and self.streams[piece.stream].holds(piece.offset, piece.data)
                for piece in pieces
            ):
                yield datagram

    def sent_numbers(self) -> SentNumbers:
        """Return what acknowledgements are checked against; call it when all packets are there."""
        return SentNumbers(self.packets)

    def _take(
        self, datagram: Datagram, frame: AnyFrame, ends: list[tuple[int, int]]
    ) -> tuple[str, str, str] | None:
        if isinstance(frame, StreamFrame):
            stream = frame.stream
            ends.append((stream, frame.end))
            problem = self._wrong_kind(stream, is_message=frame.is_message)
            return problem or self._stream(stream).add(frame.offset, frame.data, fin=frame.fin)
        if isinstance(frame, AckFrame):
            self.acknowledgements.append(Acknowledgement(datagram, frame.intervals))
            if len(frame.intervals) > _MAX_RANGES:
                return "5-3", f"an ACK of {len(frame.intervals)} ranges", f"at most {_MAX_RANGES}"
            return None
        fields = frame.fields
        match frame:
            case ResetStream():
                ends.append((fields["stream_id"], fields["final_size"]))
                return self._stream(fields["stream_id"]).end_at(fields["final_size"])
            case FecRecovered():
                intervals = frame.intervals()
                self.recovered.append(Acknowledgement(datagram, intervals))
                if len(intervals) > _MAX_RECOVERED_RANGES:
                    return (
                        "12.4-5",
                        f"FEC_RECOVERED of {len(intervals)} ranges",
                        f"at most {_MAX_RECOVERED_RANGES}",
                    )
            case FecRepair():
                self.protected.append(Acknowledgement(datagram, frame.intervals()))
            case Ack():
                frame.intervals()  # it is still scapy's, so this says what is wrong
            case MaxData():
                self.announcements.append(Announcement(datagram, None, fields["maximum"]))
            case MaxStreamData():
                self.announcements.append(Announcement(datagram, fields["stream_id"], fields["maximum"]))
            case Close():
                fields["reason"].decode("utf-8")
            case _:
                pass
        return None

    def _wrong_kind(self, stream: int, *, is_message: bool) -> tuple[str, str, str] | None:
        """Return what is wrong with a MESSAGE or STREAM frame on this stream (SPEC 6.2-1)."""
        if is_message and not stream & _UNIDIRECTIONAL:
            return "6.2-1", f"MESSAGE on stream {stream}", "a unidirectional stream"
        if self.message_streams.setdefault(stream, is_message) != is_message:
            return "6.2-1", f"MESSAGE and STREAM frames on stream {stream}", "frames of one kind"
        return None

    def _stream(self, number: int) -> StreamBytes:
        stream = self.streams.get(number)
        if stream is None:
            stream = self.streams[number] = StreamBytes()
        return stream


class SentNumbers:
    """Which packet numbers had been sent at a time. Ranges are never walked number by number."""

    def __init__(self, packets: dict[int, Datagram]) -> None:
        self._times: list[int] = []
        self._largest: list[int] = []
        largest = -1
        for at, number in sorted((datagram.at, number) for number, datagram in packets.items()):
            largest = max(largest, number)
            self._times.append(at)
            self._largest.append(largest)
        numbers = sorted(packets)
        #: Numbers that were never sent, as [start, end), between those that were.
        self._gaps = list(_gaps(numbers))
        self._starts = [start for start, _ in self._gaps]

    def unsent(self, smallest: int, largest: int, at: int) -> str | None:
        """Return what of [smallest, largest] had not been sent by ``at``; None if all of it had."""
        before = bisect_right(self._times, at)
        sent = self._largest[before - 1] if before else -1
        if largest > sent:
            return f"packet {largest}, when {sent} was the largest sent"
        gap = bisect_right(self._starts, largest) - 1
        if gap >= 0 and self._gaps[gap][1] > smallest:
            return f"packet {max(smallest, self._starts[gap])}, which was never sent"
        return None


def _gaps(numbers: list[int]) -> Iterator[tuple[int, int]]:
    expected = 0
    for number in numbers:
        if number > expected:
            yield expected, number
        expected = number + 1
