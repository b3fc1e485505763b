"""The two sides of a test: what the client asks for, and what the server does; measured on the way.

The client opens a control stream and writes what it wants as a line of JSON. Bulk data goes on further
streams, opened by whoever sends; a ping is a message, and comes back as one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache

from node.protocol.connection import Connection
from node.protocol.errors import LocalProtocolError
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant
from node.workloads.base import CHUNK_BYTES, FlowStream

CONTROL = 0
MAX_LINE_BYTES = 65_536
MAX_PARALLEL = 100
MAX_LENGTH = 1 << 22
#: A day, as the command line allows: else one request would keep the server sending for ever.
MAX_DURATION: Duration = 86_400 * SECOND
ERROR_REFUSED = 0x100
#: A sender writes what the path takes in so much time, beside what is under way: many times as long as it
#: takes to come back to it.
AHEAD: Duration = 200 * MILLISECOND
#: So long that bound holds: statistics take as long as a packet.
BOUNDED: Duration = 2 * MILLISECOND
#: But at least so much together: the first window, and a burst of it.
LEAST_AHEAD_BYTES = 16 << 10
#: Shorter writes would make shorter packets of streams side by side.
LEAST_WRITE_BYTES = 2 << 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a test is to be."""

    #: How many streams.
    parallel: int = 1
    #: Whether the server sends.
    reverse: bool = False
    #: How long the sender sends; 0: until ``size`` is through.
    duration: Duration = 10 * SECOND
    #: Bytes of all streams together; 0: as many as fit in the time.
    size: int = 0
    #: Bytes of one write.
    length: int = 128 << 10
    #: Bits a second of each stream; 0: as fast as the path allows.
    rate: int = 0

    def encode(self) -> bytes:
        """Return it as the line that the client sends."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(fields).encode() + b"\n"

    @staticmethod
    def decode(line: bytes) -> Wanted:
        """Return what a line says (ValueError: it is none of ours, or asks for too much)."""
        fields = json.loads(line)
        if not isinstance(fields, dict) or set(fields) != set(Wanted.__slots__):
            raise ValueError("the request is not one of narrows perf")
        numbers = {name: value for name, value in fields.items() if name != "reverse"}
        if not all(isinstance(value, int) for value in numbers.values()):  # Infinity is one to Python's JSON
            raise ValueError("the request holds what is no whole number")
        wanted = Wanted(reverse=bool(fields["reverse"]), **numbers)
        if not (1 <= wanted.parallel <= MAX_PARALLEL and 1 <= wanted.length <= MAX_LENGTH):
            raise ValueError(f"at most {MAX_PARALLEL} streams and writes of {MAX_LENGTH} bytes are served")
        if min(wanted.duration, wanted.size, wanted.rate) < 0 or not (wanted.duration or wanted.size):
            raise ValueError("neither a time nor a size is asked for")
        if wanted.duration > MAX_DURATION:
            raise ValueError(f"tests of at most {MAX_DURATION // SECOND} s are served")
        return wanted


@dataclass(slots=True)
class Sending:
    """A stream that we send on."""

    stream: FlowStream
    written: int = 0
    ended: bool = False

    @property
    def through(self) -> int:
        """Bytes that the peer has acknowledged."""
        return self.written - self.stream.backlog()


class Sender:
    """Sends on several streams until time or bytes are over."""

    def __init__(self, connection: Connection, wanted: Wanted, *, now: Instant) -> None:
        self._connection = connection
        self._wanted = wanted
        self._block = _longest_block()[: wanted.length]
        self.began = now
        #: As ``_bounds`` returned them, and when.
        self._waiting, self._length, self._bounded = 0, 0, now - BOUNDED
        self.streams = [
            Sending(FlowStream(connection, connection.open_stream())) for _ in range(wanted.parallel)
        ]

    def pump(self, *, now: Instant) -> None:
        """Write what may be written now, and the ends when it is over."""
        wanted = self._wanted
        late = bool(wanted.duration) and now - self.began >= wanted.duration
        if now - self._bounded >= BOUNDED and not self.over:
            self._waiting, self._length, self._bounded = *self._bounds(), now
        for sending in self.streams:
            share = wanted.size // wanted.parallel
            while not (sending.ended or late) and self._may(sending, now):
                size = self._length if not wanted.size else min(self._length, share - sending.written)
                sending.stream.write(self._block[:size])
                sending.written += size
                if wanted.size and sending.written >= share:
                    sending.ended = True
                    sending.stream.write(b"", end=True)
            if late and not sending.ended:
                sending.ended = True
                sending.stream.write(b"", end=True)

    @property
    def over(self) -> bool:
        """Whether all ends are written."""
        return all(sending.ended for sending in self.streams)

    def _may(self, sending: Sending, now: Instant) -> bool:
        rate = self._wanted.rate
        if rate and sending.written * 8 * SECOND > rate * (now - self.began):
            return False
        return sending.stream.backlog() < self._waiting

    def _bounds(self) -> tuple[int, int]:
        """Return how many bytes of a stream may wait in the transport, and how many are written at a time.

        What is under way waits, and what the path takes in a moment: a test of a time ends when all of it
        has arrived, and a megabyte takes eight seconds at 1 Mbit/s. On a fast path a window and a chunk are
        less than that, and enough that the transport never runs dry.
        """
        wanted, found = self._wanted, self._connection.statistics()
        soon = found.congestion_window * AHEAD // max(1, found.smoothed_rtt)
        each = min(max(soon, LEAST_AHEAD_BYTES) // wanted.parallel, CHUNK_BYTES + found.congestion_window)
        each = max(each, LEAST_WRITE_BYTES)
        length = min(wanted.length, max(each // 4, LEAST_WRITE_BYTES))
        return found.bytes_in_flight // wanted.parallel + each, length


@cache
def _longest_block() -> memoryview:
    """Return what all senders write from: one each would let a peer's requests fill the server's memory."""
    return memoryview(bytes(range(256)) * (MAX_LENGTH // 256))


@dataclass(frozen=True, slots=True)
class Report:
    """What the server says of a test that it received."""

    #: Bytes of each stream.
    streams: tuple[int, ...]
    #: From the first data to the last.
    seconds: float

    def encode(self) -> bytes:
        """Return it as the server sends it."""
        return json.dumps({"streams": self.streams, "seconds": self.seconds}).encode()

    @staticmethod
    def decode(data: bytes) -> Report:
        """Return what a server says (ValueError: it cannot be read)."""
        fields = json.loads(data)
        if not isinstance(fields, dict) or set(fields) != {"streams", "seconds"}:
            raise ValueError("it is no report of narrows perf")
        streams, seconds = fields["streams"], fields["seconds"]
        if not isinstance(streams, list) or not all(isinstance(size, int) for size in streams):
            raise ValueError("its streams are no list of whole numbers")
        if not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
            raise ValueError("its seconds are no time")
        return Report(tuple(streams), seconds)


class ServerSession:
    """The server's side of one test."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._line = bytearray()
        self._wanted: Wanted | None = None
        self.sender: Sender | None = None
        self.received: dict[int, int] = {}
        self._last: Instant = 0
        self._began: Instant = 0

    def on_established(self, *, now: Instant) -> None:
        """Wait for the request."""

    def on_stream(self, stream_id: int, data: bytearray, *, ended: bool, now: Instant) -> None:
        """Take the request, data, and the question what has come."""
        if stream_id != CONTROL:
            if not self.received:
                self._began = now
            self.received[stream_id] = self.received.get(stream_id, 0) + len(data)
            self._last = now
            return
        self._line += data
        if len(self._line) > MAX_LINE_BYTES:
            self._connection.close(ERROR_REFUSED, "the request is too long", now=now)
            return
        if self._wanted is None and b"\n" in self._line:
            line, _, rest = bytes(self._line).partition(b"\n")
            self._line = bytearray(rest)
            self._begin(line, now)
        if ended and self._wanted is not None:
            seconds = (self._last - self._began) / SECOND
            report = Report(tuple(self.received.values()), seconds)
            self._connection.write(CONTROL, report.encode(), end=True)

    def _begin(self, line: bytes, now: Instant) -> None:
        try:
            wanted = Wanted.decode(line)
            if wanted.reverse:
                self.sender = Sender(self._connection, wanted, now=now)
        except (ValueError, TypeError, RecursionError, LocalProtocolError) as error:
            # Among it a peer that allows fewer streams than it asks for.
            self._connection.close(ERROR_REFUSED, str(error)[:200], now=now)
            return
        self._wanted = wanted

    def on_message(self, data: bytes, *, now: Instant) -> None:
        """Send a ping back."""
        try:
            self._connection.send_message(data, now + 10 * SECOND, now=now)
        except LocalProtocolError:
            pass  # too many wait already: this one is lost, as on any path

    def on_closed(self, reason: str) -> None:
        """Nothing is left to do."""

    def pump(self, *, now: Instant) -> None:
        """Send on."""
        if self.sender is not None and not self._connection.closed:
            self.sender.pump(now=now)


@dataclass(slots=True)
class ClientSession:
    """The client's side of one test.

    ``connection``: of the test. ``wanted``: None for a ping, which asks for nothing.
    """

    connection: Connection
    wanted: Wanted | None = None
    established: bool = False
    #: Why the connection is over; None: it is not.
    closed: str | None = None
    sender: Sender | None = None
    began: Instant = 0
    received: dict[int, int] = field(default_factory=dict)
    open_streams: set[int] = field(default_factory=set)
    report: Report | None = None
    #: Number of a ping → when it came back.
    answers: dict[int, Instant] = field(default_factory=dict)
    _line: bytearray = field(default_factory=bytearray)
    _asked: bool = False

    def on_established(self, *, now: Instant) -> None:
        """Ask for the test, and begin if it is ours to send."""
        self.established, self.began = True, now
        control = self.connection.open_stream()
        assert control == CONTROL
        if self.wanted is None:
            return
        self.connection.write(control, self.wanted.encode())
        if not self.wanted.reverse:
            self.sender = Sender(self.connection, self.wanted, now=now)

    def on_stream(self, stream_id: int, data: bytearray, *, ended: bool, now: Instant) -> None:
        """Count data, and take the server's report."""
        if stream_id != CONTROL:
            self.received[stream_id] = self.received.get(stream_id, 0) + len(data)
            self.open_streams.discard(stream_id) if ended else self.open_streams.add(stream_id)
            return
        self._line += data
        try:
            if len(self._line) > MAX_LINE_BYTES:
                raise ValueError("it is too long")
            if ended:
                self.report = Report.decode(bytes(self._line))
        except (ValueError, RecursionError) as error:
            self.closed = f"the server's report cannot be read: {error}"

    def on_message(self, data: bytes, *, now: Instant) -> None:
        """Note that a ping came back."""
        self.answers.setdefault(int.from_bytes(data[:8], "big"), now)

    def on_closed(self, reason: str) -> None:
        """Note why it is over."""
        self.closed = reason

    def pump(self, *, now: Instant) -> None:
        """Send on; when all is through, ask what has come."""
        if self.connection.closed or not self.established or self.wanted is None:
            return
        if self.sender is not None:
            self.sender.pump(now=now)
        if not self._asked and self._all_through():
            self._asked = True
            self.connection.write(CONTROL, b"", end=True)

    def _all_through(self) -> bool:
        assert self.wanted is not None
        if self.sender is not None:
            return self.sender.over and all(not sending.stream.backlog() for sending in self.sender.streams)
        return len(self.received) == self.wanted.parallel and not self.open_streams

    def moved(self) -> list[int]:
        """Return how many bytes each stream has moved so far, as the client knows."""
        if self.sender is not None:
            return [sending.through for sending in self.sender.streams]
        return list(self.received.values())
