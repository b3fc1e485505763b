"""Messages: each one a message of the transport (SPEC 6.2), with a deadline if one is asked for.

A message is its number in 4 bytes, then its payload. They arrive in any order, and with a deadline not
all of them; when all are acknowledged or expired the source ends the flow's stream, and the target
reports what came: a line of JSON, then a bitmap. So both ends say the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

from node.protocol.time import SECOND, Duration, Instant
from node.workloads.base import (
    MAX_REPORT_BYTES,
    WORKLOADS,
    ByteSource,
    Data,
    FlowStream,
    Outcome,
    Resources,
    SetDigest,
    Side,
    WorkloadError,
    check_names,
    whole,
)

OPTIONS = ("size", "count", "rate", "deadline", "seed")
NUMBER_BYTES = 4
#: With its number a message is as long as the transport takes by default.
MAX_MESSAGE_BYTES = (1 << 20) - NUMBER_BYTES
MAX_MESSAGES = 10_000_000
#: Messages on the way at most: far fewer than the transport lets wait.
MAX_OUTSTANDING = 1 << 15


@WORKLOADS.register("messages")
class Messages:
    """``count`` messages of ``size`` bytes, ``rate`` a second (0: as fast as they go).

    With a ``deadline`` (ns; 0: none) each is given up when it is not acknowledged so long after its start.
    """

    name: ClassVar[str] = "messages"

    @staticmethod
    def source(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the sending side."""
        size, count, deadline = _checked(options)
        rate = whole(options, "rate", default=0, low=0, high=10_000_000)
        payload = resources.source_of({**options, "size": size * count})
        return MessageSource(payload, size=size, count=count, rate=rate, deadline=deadline)

    @staticmethod
    def target(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the receiving side."""
        _, _, deadline = _checked(options)
        return MessageTarget(may_miss=deadline > 0)


def _checked(options: Mapping[str, object]) -> tuple[int, int, Duration]:
    check_names(options, OPTIONS)
    size = whole(options, "size", default=256, low=1, high=MAX_MESSAGE_BYTES)
    count = whole(options, "count", default=1000, low=1, high=MAX_MESSAGES)
    return size, count, whole(options, "deadline", default=0, low=0, high=3600 * SECOND)


class MessageSource(Side):
    """Sends messages by rate or by the transport's appetite, then waits for the report."""

    def __init__(self, payload: ByteSource, *, size: int, count: int, rate: int, deadline: Duration) -> None:
        self._payload = payload
        self._size, self._count = size, count
        self._rate, self._deadline = rate, deadline
        self._sent = self._over = self._expired = 0
        self._started_at: Instant = 0
        self._report = bytearray()
        self._stream: FlowStream | None = None

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

    def on_message_over(self, *, delivered: bool, now: Instant) -> None:
        """Count; when the last one is over the target may report."""
        assert self._stream is not None
        self._over += 1
        self._expired += not delivered
        if self._over == self._count:
            self._stream.write(b"", end=True)

    def receive(self, data: Data, *, ended: bool, now: Instant) -> None:
        """Take the target's report."""
        if len(self._report) + len(data) > MAX_REPORT_BYTES + _bitmap_bytes(self._count):
            raise WorkloadError("the target's report is too long")
        self._report += data
        if ended and self.outcome is None:
            self._conclude()

    def handle_timeout(self, *, now: Instant) -> None:
        """Send those whose time has come."""
        self._send(now)

    def next_timeout(self) -> Instant | None:
        """Return when the next message is due, if it waits for nothing but that."""
        if self._stream is None or self.writing or self._sent == self._count:
            return None
        return self._started_at + -(-self._sent * SECOND // self._rate)

    def progress(self) -> tuple[int, int | None]:
        """Return payload bytes that are over, and all there will be."""
        return self._over * self._size, self._size * self._count

    def abort(self) -> None:
        """Let go of the payload."""
        self._payload.close()

    def _send(self, now: Instant) -> None:
        """Send the messages that are due, as long as the transport wants more."""
        assert self._stream is not None
        due = self._count
        if self._rate:
            due = min(due, (now - self._started_at) * self._rate // SECOND + 1)
        deadline = now + self._deadline if self._deadline else None
        while self._sent < due and self._wants_more(self._stream):
            payload = self._payload.read(self._sent * self._size, self._size)
            data = self._sent.to_bytes(NUMBER_BYTES, "big") + payload
            self._stream.send_message(data, deadline=deadline, now=now)
            self._sent += 1
        self.writing = self._sent < due

    def _wants_more(self, stream: FlowStream) -> bool:
        outstanding = self._sent - self._over
        return outstanding < MAX_OUTSTANDING and stream.wants_more(outstanding * self._size)

    def _conclude(self) -> None:
        """Compare what the target has with what it says it has."""
        line, _, came = bytes(self._report).partition(b"\n")
        try:
            report = json.loads(line)
        except (ValueError, RecursionError):
            raise WorkloadError("the target's report is not JSON") from None
        if len(came) != _bitmap_bytes(self._count):
            raise WorkloadError(f"the target's report covers {8 * len(came)} messages, not {self._count}")
        digest, received = SetDigest(), 0
        for number in range(self._count):
            if came[number >> 3] >> (number & 7) & 1:
                received += 1
                digest.add(number, self._payload.read(number * self._size, self._size))
        self._payload.close()
        size, sha256 = received * self._size, digest.digest().hex()
        error = "" if report == {"bytes": size, "sha256": sha256} else f"the target has {report!r:.200}"
        results = {"messages": self._count, "delivered": received, "expired": self._expired}
        self.outcome = Outcome(ok=not error, error=error, bytes=size, sha256=sha256, results=results)


class MessageTarget(Side):
    """Counts messages and keeps a sum over them.

    Args:
        may_miss: whether messages have a deadline, so that some may not come.
    """

    def __init__(self, *, may_miss: bool) -> None:
        self._may_miss = may_miss
        self._came = bytearray()
        self._digest = SetDigest()
        self._size = self._count = self._received = 0
        self._stream: FlowStream | None = None

    def accept(self, announcement: Mapping[str, object]) -> None:
        """Take size and count."""
        self._size = whole(announcement, "size", default=0, low=1, high=MAX_MESSAGE_BYTES)
        self._count = whole(announcement, "count", default=0, low=1, high=MAX_MESSAGES)
        self._came = bytearray(_bitmap_bytes(self._count))

    def start(self, stream: FlowStream, *, now: Instant) -> None:
        """Keep the stream."""
        self._stream = stream

    def receive_message(self, data: Data, *, now: Instant) -> None:
        """Take a message."""
        number, payload = int.from_bytes(data[:NUMBER_BYTES], "big"), data[NUMBER_BYTES:]
        if number >= self._count or len(payload) != self._size:
            raise WorkloadError(f"message {number}: {len(payload)} bytes, announced {self._size}")
        if self._came[number >> 3] >> (number & 7) & 1:
            raise WorkloadError(f"message {number} came twice")
        self._came[number >> 3] |= 1 << (number & 7)
        self._received += 1
        self._digest.add(number, payload)

    def receive(self, data: Data, *, ended: bool, now: Instant) -> None:
        """Report when the source says that no more will come."""
        assert self._stream is not None
        if data:
            raise WorkloadError("bytes on the stream of a flow of messages")
        if not ended or self.outcome is not None:
            return
        if self._received != self._count and not self._may_miss:
            raise WorkloadError(f"the stream ended after {self._received} of {self._count} messages")
        size, sha256 = self._received * self._size, self._digest.digest().hex()
        line = json.dumps({"bytes": size, "sha256": sha256}).encode() + b"\n"
        self._stream.write(line + self._came, end=True)
        results = {"messages": self._received, "missing": self._count - self._received}
        self.outcome = Outcome(ok=True, bytes=size, sha256=sha256, results=results)

    def progress(self) -> tuple[int, int | None]:
        """Return payload bytes received, and all there will be."""
        return self._received * self._size, self._size * self._count


def _bitmap_bytes(count: int) -> int:
    return -(-count // 8)
