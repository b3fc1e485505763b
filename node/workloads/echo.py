"""Echo: one request of ``size`` bytes after another, each answered with the same bytes.

Measures the round trip that an application sees, from the write of a request to the last byte of
its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from node.protocol.time import SECOND, Duration, Instant
from node.workloads.base import (
    WORKLOADS,
    ByteSource,
    Data,
    Digest,
    FlowStream,
    Outcome,
    Resources,
    Side,
    WorkloadError,
    check_names,
    quantiles_ms,
    whole,
)

OPTIONS = ("size", "count", "interval", "seed")
MAX_REQUEST_BYTES = 1 << 20
MAX_REQUESTS = 1_000_000


@WORKLOADS.register("echo")
class Echo:
    """``count`` requests of ``size`` bytes, at least ``interval`` ns apart (0: back to back)."""

    name: ClassVar[str] = "echo"

    @staticmethod
    def source(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the asking side."""
        check_names(options, OPTIONS)
        size = whole(options, "size", default=64, low=1, high=MAX_REQUEST_BYTES)
        count = whole(options, "count", default=100, low=1, high=MAX_REQUESTS)
        interval = whole(options, "interval", default=0, low=0, high=3600 * SECOND)
        payload = resources.source_of({**options, "size": size * count})
        return EchoSource(payload, size=size, count=count, interval=interval)

    @staticmethod
    def target(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the answering side."""
        check_names(options, OPTIONS)
        return EchoTarget()


class EchoSource(Side):
    """Asks, waits for the answer, compares it, asks again."""

    def __init__(self, payload: ByteSource, *, size: int, count: int, interval: Duration) -> None:
        self._payload = payload
        self._size = size
        self._count = count
        self._interval = interval
        self._asked = 0
        self._asked_at: Instant = 0
        self._next_at: Instant | None = None
        self._request = b""
        self._answer = bytearray()
        self._digest = Digest()
        self._round_trips: list[Duration] = []
        self._stream: FlowStream | None = None

    def start(self, stream: FlowStream, *, now: Instant) -> None:
        """Ask the first time."""
        self._stream = stream
        self._ask(now)

    def receive(self, data: Data, *, ended: bool, now: Instant) -> None:
        """Take the answer's next bytes."""
        self._answer += data
        if len(self._answer) > self._size:
            raise WorkloadError("the answer is longer than the request")
        if len(self._answer) == self._size:
            self._on_answer(now)
        if ended and len(self._round_trips) < self._count:
            raise WorkloadError(f"the target ended after {len(self._round_trips)} of {self._count} answers")
        if ended:
            self._payload.close()
            results = {"rtt_ms": quantiles_ms(self._round_trips), "count": self._count}
            digest = self._digest.hexdigest()
            self.outcome = Outcome(ok=True, bytes=self._digest.size, sha256=digest, results=results)

    def handle_timeout(self, *, now: Instant) -> None:
        """Ask again."""
        if self._next_at is not None and now >= self._next_at:
            self._next_at = None
            self._ask(now)

    def next_timeout(self) -> Instant | None:
        """Return when to ask again, if an interval is to be kept."""
        return self._next_at

    def progress(self) -> tuple[int, int | None]:
        """Return bytes answered, and all there will be."""
        return self._digest.size, self._size * self._count

    def abort(self) -> None:
        """Let go of the payload."""
        self._payload.close()

    def _ask(self, now: Instant) -> None:
        assert self._stream is not None
        self._request = bytes(self._payload.read(self._asked * self._size, self._size))
        self._asked += 1
        self._asked_at = now
        self._stream.write(self._request, end=self._asked == self._count)

    def _on_answer(self, now: Instant) -> None:
        if self._answer != self._request:
            raise WorkloadError(f"answer {self._asked} differs from its request")
        self._digest.update(self._answer)
        self._answer.clear()
        self._round_trips.append(now - self._asked_at)
        if self._asked == self._count:
            return
        self._next_at = self._asked_at + self._interval
        self.handle_timeout(now=now)


class EchoTarget(Side):
    """Sends back what comes."""

    def __init__(self) -> None:
        self._digest = Digest()
        self._stream: FlowStream | None = None

    def start(self, stream: FlowStream, *, now: Instant) -> None:
        """Keep the stream."""
        self._stream = stream

    def receive(self, data: Data, *, ended: bool, now: Instant) -> None:
        """Answer with the same bytes."""
        assert self._stream is not None
        if not data and not ended:
            return
        self._digest.update(data)
        self._stream.write(bytes(data), end=ended)
        if ended:
            self.outcome = Outcome(ok=True, bytes=self._digest.size, sha256=self._digest.hexdigest())

    def progress(self) -> tuple[int, int | None]:
        """Return bytes answered."""
        return self._digest.size, None
