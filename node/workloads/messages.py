"""Messages: length-prefixed messages over the stream, whose boundaries the target restores.

Each message is a 4-byte length, then its payload. The target counts them, checks that each is as
long as announced, and reports the SHA-256 over all payloads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from node.protocol.time import SECOND, Instant
from node.workloads.base import (
    WORKLOADS,
    ByteSource,
    Data,
    Digest,
    FlowStream,
    Outcome,
    Report,
    ReportedSource,
    Resources,
    Side,
    WorkloadError,
    check_names,
    whole,
)

OPTIONS = ("size", "count", "rate", "seed")
LENGTH_BYTES = 4
MAX_MESSAGE_BYTES = 1 << 20
MAX_MESSAGES = 10_000_000
#: Messages joined into one write.
BATCH = 256


@WORKLOADS.register("messages")
class Messages:
    """``count`` messages of ``size`` bytes, ``rate`` a second (0: as fast as they go)."""

    name: ClassVar[str] = "messages"

    @staticmethod
    def source(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the sending side."""
        size, count = _size_and_count(options)
        rate = whole(options, "rate", default=0, low=0, high=10_000_000)
        payload = resources.source_of({**options, "size": size * count})
        return MessageSource(payload, size=size, count=count, rate=rate)

    @staticmethod
    def target(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the receiving side."""
        _size_and_count(options)
        return MessageTarget()


def _size_and_count(options: Mapping[str, object]) -> tuple[int, int]:
    check_names(options, OPTIONS)
    size = whole(options, "size", default=256, low=1, high=MAX_MESSAGE_BYTES)
    return size, whole(options, "count", default=1000, low=1, high=MAX_MESSAGES)


class MessageSource(ReportedSource):
    """Sends messages by rate or by the transport's appetite, then waits for the report."""

    def __init__(self, payload: ByteSource, *, size: int, count: int, rate: int) -> None:
        super().__init__(payload)
        self._size = size
        self._count = count
        self._rate = rate
        self._sent = 0
        self._started_at: Instant = 0

    def announcement(self) -> Mapping[str, object]:
        """Tell the target how many messages of which size will come."""
        return {"size": self._size, "count": self._count}

    def start(self, stream: FlowStream, *, now: Instant) -> None:
        """Send the first."""
        self._stream = stream
        self._started_at = now
        self._send(now)

    def on_writable(self, *, now: Instant) -> None:
        """Send those that are due and had to wait for the transport."""
        self._send(now)

    def handle_timeout(self, *, now: Instant) -> None:
        """Send those whose time has come."""
        self._send(now)

    def next_timeout(self) -> Instant | None:
        """Return when the next message is due, if it waits for nothing but that."""
        if self._stream is None or self.writing or self._sent == self._count:
            return None
        return self._started_at + -(-self._sent * SECOND // self._rate)

    def progress(self) -> tuple[int, int | None]:
        """Return payload bytes written, and all there will be."""
        return self._digest.size, self._size * self._count

    def _send(self, now: Instant) -> None:
        """Write the messages that are due, a batch as one buffer, as long as the stream wants more."""
        assert self._stream is not None
        due = self._count
        if self._rate:
            due = min(due, (now - self._started_at) * self._rate // SECOND + 1)
        while self._sent < due and self._stream.wants_more():
            until = min(due, self._sent + BATCH)
            parts: list[bytes | memoryview] = []
            for index in range(self._sent, until):
                payload = self._payload.read(index * self._size, self._size)
                self._digest.update(payload)
                parts += (self._size.to_bytes(LENGTH_BYTES, "big"), payload)
            self._sent = until
            self._stream.write(b"".join(parts), end=until == self._count)
        self.writing = self._sent < due


class MessageTarget(Side):
    """Cuts the stream into messages again."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._digest = Digest()
        self._size = 0
        self._count = 0
        self._received = 0
        self._stream: FlowStream | None = None

    def accept(self, announcement: Mapping[str, object]) -> None:
        """Take size and count."""
        self._size = whole(announcement, "size", default=0, low=1, high=MAX_MESSAGE_BYTES)
        self._count = whole(announcement, "count", default=0, low=1, high=MAX_MESSAGES)

    def start(self, stream: FlowStream, *, now: Instant) -> None:
        """Keep the stream."""
        self._stream = stream

    def receive(self, data: Data, *, ended: bool, now: Instant) -> None:
        """Take the next bytes; at the end, report."""
        assert self._stream is not None
        self._buffer += data
        self._cut()
        if not ended or self.outcome is not None:
            return
        if self._buffer or self._received != self._count:
            raise WorkloadError(f"the stream ended after {self._received} of {self._count} messages")
        digest = self._digest.hexdigest()
        self._stream.write(Report.encode(size=self._digest.size, sha256=digest), end=True)
        self.outcome = Outcome(
            ok=True, bytes=self._digest.size, sha256=digest, results={"messages": self._received}
        )

    def progress(self) -> tuple[int, int | None]:
        """Return payload bytes received, and all there will be."""
        return self._digest.size, self._size * self._count

    def _cut(self) -> None:
        """Take whole messages off the buffer's front."""
        start = 0
        whole_size = LENGTH_BYTES + self._size
        with memoryview(self._buffer) as view:
            while len(view) - start >= LENGTH_BYTES:
                length = int.from_bytes(view[start : start + LENGTH_BYTES], "big")
                if length != self._size:
                    raise WorkloadError(f"message {self._received}: {length} bytes, announced {self._size}")
                if len(view) - start < whole_size:
                    break
                self._digest.update(view[start + LENGTH_BYTES : start + whole_size])
                self._received += 1
                start += whole_size
        del self._buffer[:start]
