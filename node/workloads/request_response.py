"""Request-response: many requests of one size, each answered with a response of another, several at once.

Where the transport has streams, each request has one of its own, and ``streams`` are open at once; where it
has only one, as TCP, so many requests wait in line on it. The latency of a request is what an application
sees: from its write to the last byte of its response.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from node.protocol.time import SECOND, Duration, Instant
from node.workloads.base import (
    WORKLOADS,
    ByteSource,
    Data,
    FlowStream,
    Outcome,
    Report,
    Resources,
    SetDigest,
    Side,
    WorkloadError,
    check_names,
    quantiles_ms,
    whole,
)

OPTIONS = ("count", "size", "response", "streams", "think", "seed")
#: A request begins with its number, so that nothing depends on the order in which requests arrive.
NUMBER_BYTES = 4
MAX_REQUESTS = 1_000_000
MAX_REQUEST_BYTES = 1 << 20
MAX_RESPONSE_BYTES = 16 << 20
#: Requests under way at once: as many streams as a peer of ours ever allows.
MAX_STREAMS = 1 << 16
#: Response bytes under way at once: a target's memory for them.
MAX_OUTSTANDING_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Shape:
    """The options of a flow, which both ends are given."""

    count: int
    size: int
    response: int
    streams: int
    think: Duration

    @staticmethod
    def of(options: Mapping[str, object]) -> Shape:
        """Return what the options say (WorkloadError: they are wrong)."""
        check_names(options, OPTIONS)
        shape = Shape(
            count=whole(options, "count", default=100, low=1, high=MAX_REQUESTS),
            size=whole(options, "size", default=64, low=NUMBER_BYTES, high=MAX_REQUEST_BYTES),
            response=whole(options, "response", default=1000, low=1, high=MAX_RESPONSE_BYTES),
            streams=whole(options, "streams", default=1, low=1, high=MAX_STREAMS),
            think=whole(options, "think", default=0, low=0, high=3600 * SECOND),
        )
        if shape.streams * shape.response > MAX_OUTSTANDING_BYTES:
            raise WorkloadError(
                f"response: {shape.streams} streams of {shape.response} bytes at once are more than "
                f"{MAX_OUTSTANDING_BYTES}; use fewer streams or smaller responses"
            )
        return shape

    @property
    def bytes(self) -> int:
        """Payload bytes of the flow, both ways."""
        return self.count * (self.size + self.response)


class _Bytes:
    """What is asked and answered: it follows from the flow's seed, so both ends know it."""

    def __init__(self, shape: Shape, options: Mapping[str, object], resources: Resources) -> None:
        self._shape = shape
        self._source: ByteSource = resources.source_of({**options, "size": shape.bytes})

    def request(self, number: int) -> bytes:
        """Return a request whole."""
        body = self._source.read(number * self._shape.size, self._shape.size - NUMBER_BYTES)
        return number.to_bytes(NUMBER_BYTES, "big") + body

    def response(self, number: int) -> bytes:
        """Return a response whole."""
        shape = self._shape
        return bytes(self._source.read(shape.count * shape.size + number * shape.response, shape.response))

    def close(self) -> None:
        """Let go of it."""
        self._source.close()


@WORKLOADS.register("request-response")
class RequestResponse:
    """``count`` requests of ``size`` bytes, ``streams`` at once, each ``think`` ns after a response."""

    name: ClassVar[str] = "request-response"

    @staticmethod
    def source(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the asking side."""
        shape = Shape.of(options)
        return RequestSource(shape, _Bytes(shape, options, resources))

    @staticmethod
    def target(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the answering side."""
        shape = Shape.of(options)
        return RequestTarget(shape, _Bytes(shape, options, resources))


@dataclass(slots=True)
class _Asked:
    """A request under way."""

    number: int
    at: Instant
    answer: bytearray = field(default_factory=bytearray)


class RequestSource(Side):
    """Asks as many at once as it may, and checks every answer."""

    multiplexed = True

    def __init__(self, shape: Shape, payload: _Bytes) -> None:
        self._shape = shape
        self._payload = payload
        self._asked = 0
        self._answered = 0
        #: Requests under way by their stream; in line where there is one stream only.
        self._on_streams: dict[int, _Asked] = {}
        self._in_line: deque[_Asked] = deque()
        #: When the next requests may go, earliest first: a thinking user each.
        self._ready: deque[Instant] = deque()
        self._digest = SetDigest()
        self._latencies: list[Duration] = []
        self._report = Report()
        self._stream: FlowStream | None = None

    def start(self, stream: FlowStream, *, now: Instant) -> None:
        """Let every user ask."""
        self._stream = stream
        self._ready.extend([now] * min(self._shape.streams, self._shape.count))
        self._ask(now)

    def receive(self, data: Data, *, ended: bool, now: Instant) -> None:
        """Take answers on the flow's own stream, and behind the last of them the target's report."""
        rest = memoryview(data)
        while self._in_line and rest:
            asked = self._in_line[0]
            part = rest[: self._shape.response - len(asked.answer)]
            asked.answer += part
            rest = rest[len(part) :]
            if len(asked.answer) == self._shape.response:
                self._in_line.popleft()
                self._on_answer(asked, now)
        self._report.receive(rest)
        if ended and self.outcome is None:
            self._conclude()

    def receive_other(self, stream: FlowStream, data: Data, *, ended: bool, now: Instant) -> None:
        """Take the next bytes of an answer on a stream of its own."""
        asked = self._on_streams.get(stream.stream_id)
        if asked is None:
            raise WorkloadError(f"bytes on stream {stream.stream_id}, which has no request")
        asked.answer += data
        if len(asked.answer) > self._shape.response:
            raise WorkloadError(f"answer {asked.number} is longer than {self._shape.response} bytes")
        if ended:
            del self._on_streams[stream.stream_id]
            self._on_answer(asked, now)

    def on_writable(self, *, now: Instant) -> None:
        """Ask on, if the peer has allowed more streams."""
        self._ask(now)

    def handle_timeout(self, *, now: Instant) -> None:
        """Ask for the users who have thought long enough."""
        self._ask(now)

    def next_timeout(self) -> Instant | None:
        """Return when the next user has thought."""
        thinking = bool(self._ready) and not self.writing and self._asked < self._shape.count
        return self._ready[0] if thinking else None

    def progress(self) -> tuple[int, int | None]:
        """Return bytes of requests and responses that are over, and all there will be."""
        return self._answered * (self._shape.size + self._shape.response), self._shape.bytes

    def abort(self) -> None:
        """Let go of the payload."""
        self._payload.close()

    def _ask(self, now: Instant) -> None:
        assert self._stream is not None
        while self._ready and self._ready[0] <= now and self._asked < self._shape.count:
            own = self._stream if not self._stream.multiplexed else self._stream.open()
            if own is None:
                break
            self._ready.popleft()
            asked = _Asked(self._asked, now)
            self._asked += 1
            if own is self._stream:
                self._in_line.append(asked)
            else:
                self._on_streams[own.stream_id] = asked
            own.write(self._payload.request(asked.number), end=own is not self._stream)
        self.writing = bool(self._ready) and self._ready[0] <= now and self._asked < self._shape.count

    def _on_answer(self, asked: _Asked, now: Instant) -> None:
        assert self._stream is not None
        if asked.answer != self._payload.response(asked.number):
            raise WorkloadError(f"answer {asked.number} is not what the target has to say")
        self._latencies.append(now - asked.at)
        self._digest.add(asked.number, self._payload.request(asked.number) + asked.answer)
        self._answered += 1
        if self._answered == self._shape.count:
            self._ready.clear()
            self._stream.write(b"", end=True)
        elif self._asked < self._shape.count:
            self._ready.append(now + self._shape.think)
            self._ask(now)

    def _conclude(self) -> None:
        if self._answered < self._shape.count:
            raise WorkloadError(f"the target ended after {self._answered} of {self._shape.count} answers")
        self._payload.close()
        checked = self._report.outcome(size=self._shape.bytes, sha256=self._digest.digest().hex())
        results = {"count": self._shape.count, "latency_ms": quantiles_ms(self._latencies)}
        self.outcome = Outcome(checked.ok, checked.error, checked.bytes, checked.sha256, results)


class RequestTarget(Side):
    """Answers each request, whatever stream it comes on."""

    multiplexed = True

    def __init__(self, shape: Shape, payload: _Bytes) -> None:
        self._shape = shape
        self._payload = payload
        #: What has come of requests that are not whole, by stream.
        self._parts: dict[int, bytearray] = {}
        self._seen = bytearray(-(-shape.count // 8))
        self._answered = 0
        self._digest = SetDigest()
        self._stream: FlowStream | None = None

    def start(self, stream: FlowStream, *, now: Instant) -> None:
        """Keep the stream."""
        self._stream = stream

    def receive(self, data: Data, *, ended: bool, now: Instant) -> None:
        """Take requests that come in line; at the end, report."""
        assert self._stream is not None
        line = self._parts.setdefault(self._stream.stream_id, bytearray())
        line += data
        while len(line) >= self._shape.size:
            self._answer(self._stream, bytes(line[: self._shape.size]), end=False)
            del line[: self._shape.size]
        if not ended or self.outcome is not None:
            return
        if self._answered < self._shape.count or line:
            raise WorkloadError(f"the flow ended after {self._answered} of {self._shape.count} requests")
        sha256 = self._digest.digest().hex()
        self._payload.close()
        self._stream.write(Report.encode(size=self._shape.bytes, sha256=sha256), end=True)
        results = {"count": self._answered}
        self.outcome = Outcome(ok=True, bytes=self._shape.bytes, sha256=sha256, results=results)

    def receive_other(self, stream: FlowStream, data: Data, *, ended: bool, now: Instant) -> None:
        """Take the next bytes of a request on a stream of its own."""
        part = self._parts.setdefault(stream.stream_id, bytearray())
        part += data
        if len(part) > self._shape.size:
            raise WorkloadError(f"a request is longer than {self._shape.size} bytes")
        if ended:
            del self._parts[stream.stream_id]
            self._answer(stream, bytes(part), end=True)

    def progress(self) -> tuple[int, int | None]:
        """Return bytes of requests and responses so far, and all there will be."""
        return self._answered * (self._shape.size + self._shape.response), self._shape.bytes

    def abort(self) -> None:
        """Let go of the payload."""
        self._payload.close()

    def _answer(self, stream: FlowStream, request: bytes, *, end: bool) -> None:
        number = int.from_bytes(request[:NUMBER_BYTES], "big")
        if number >= self._shape.count or request != self._payload.request(number):
            raise WorkloadError(f"request {number} is not what the source has to ask")
        if self._seen[number >> 3] >> (number & 7) & 1:
            raise WorkloadError(f"request {number} came twice")
        self._seen[number >> 3] |= 1 << (number & 7)
        self._answered += 1
        response = self._payload.response(number)
        self._digest.add(number, request + response)
        stream.write(response, end=end)
