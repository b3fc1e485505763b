"""Datagrams: sealed connectionless datagrams at a steady interval; the target counts what arrives.

Nothing repeats a lost datagram (SPEC 14). When the source has sent all, it waits ``linger`` for what is
on the way, then asks the target until it reports what came: a bitmap, and a digest over it. So both ends
say the same bytes, however many were lost.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import ClassVar

from node.protocol.time import MICROSECOND, MILLISECOND, SECOND, Duration, Instant
from node.workloads.base import (
    WORKLOADS,
    ByteSource,
    Data,
    FlowDatagrams,
    Outcome,
    Resources,
    SetDigest,
    Side,
    WorkloadError,
    check_names,
    whole,
)

OPTIONS = ("size", "count", "interval", "linger", "seed")
MAX_SIZE = 200_000
#: The report's bitmap of so many fits in one datagram with room.
MAX_COUNT = 1_000_000
#: Datagrams sent at one time-out at most: the driver gets its turn between.
BATCH = 64
#: How often the source asks for the report, and how many times before it gives up.
ASK_EVERY: Duration = 250 * MILLISECOND
MAX_ASKS = 40
#: So long after it was asked last the target takes its report for received.
TARGET_PATIENCE: Duration = 3 * SECOND

#: What a datagram of a flow starts with.
DATA, END, REPORT, DONE = range(4)
_NUMBER = struct.Struct(">BI")
_REPORT = struct.Struct(">BII32s")


@WORKLOADS.register("datagrams")
class Datagrams:
    """``count`` datagrams of ``size`` bytes, one every ``interval`` ns."""

    name: ClassVar[str] = "datagrams"

    @staticmethod
    def source(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the sending side."""
        size, count = _size_and_count(options)
        interval = whole(options, "interval", default=MILLISECOND, low=MICROSECOND, high=3600 * SECOND)
        linger = whole(options, "linger", default=SECOND, low=0, high=3600 * SECOND)
        payload = resources.source_of({**options, "size": size * count})
        return DatagramSource(payload, size=size, count=count, interval=interval, linger=linger)

    @staticmethod
    def target(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the counting side."""
        size, count = _size_and_count(options)
        return DatagramTarget(size=size, count=count)


def _size_and_count(options: Mapping[str, object]) -> tuple[int, int]:
    check_names(options, OPTIONS)
    size = whole(options, "size", default=100, low=1, high=MAX_SIZE)
    return size, whole(options, "count", default=1000, low=1, high=MAX_COUNT)


class DatagramSource(Side):
    """Sends by the clock, then asks what arrived."""

    connectionless = True

    def __init__(
        self, payload: ByteSource, *, size: int, count: int, interval: Duration, linger: Duration
    ) -> None:
        self._payload = payload
        self._size, self._count = size, count
        self._interval, self._linger = interval, linger
        self._sent = 0
        self._asks = 0
        self._next_at: Instant | None = None
        self._started_at: Instant = 0
        self._datagrams: FlowDatagrams | None = None

    def announcement(self) -> Mapping[str, object]:
        """Tell the flow's observers what will be sent."""
        return {"size": self._size, "count": self._count}

    def begin(self, datagrams: FlowDatagrams, *, now: Instant) -> None:
        """Send the first."""
        self._datagrams = datagrams
        self._started_at = self._next_at = now
        self.handle_timeout(now=now)

    def handle_timeout(self, *, now: Instant) -> None:
        """Send what is due, or ask for the report."""
        if self._next_at is None or now < self._next_at or self._datagrams is None:
            return
        if self._sent < self._count:
            self._send(self._datagrams, now)
            return
        if self._asks == MAX_ASKS:
            raise WorkloadError(f"the target sent no report, though asked {MAX_ASKS} times")
        self._datagrams.send(_NUMBER.pack(END, self._count))
        self._asks += 1
        self._next_at = now + ASK_EVERY

    def receive_datagram(self, data: Data, *, now: Instant) -> None:
        """Take the target's report."""
        assert self._datagrams is not None
        if data[0] != REPORT or len(data) < _REPORT.size or self._sent < self._count:
            return
        _, duplicates, late, digest = _REPORT.unpack_from(data)
        came = bytes(data[_REPORT.size :])
        if len(came) != -(-self._count // 8):
            raise WorkloadError(f"the target's report covers {8 * len(came)} datagrams, not {self._count}")
        self._datagrams.send(_NUMBER.pack(DONE, 0))
        self._conclude(came, digest, {"duplicates": duplicates, "late": late})

    def next_timeout(self) -> Instant | None:
        """Return when the next datagram or question is due."""
        return self._next_at

    def progress(self) -> tuple[int, int | None]:
        """Return payload bytes sent, and all there will be."""
        return self._sent * self._size, self._count * self._size

    def abort(self) -> None:
        """Let go of the payload."""
        self._payload.close()

    def _send(self, datagrams: FlowDatagrams, now: Instant) -> None:
        due = min(self._count, (now - self._started_at) // self._interval + 1)
        for _ in range(min(due - self._sent, BATCH)):
            payload = self._payload.read(self._sent * self._size, self._size)
            datagrams.send(_NUMBER.pack(DATA, self._sent) + payload)
            self._sent += 1
        if self._sent == self._count:
            self._next_at = now + self._linger
        else:
            self._next_at = max(now, self._started_at + self._sent * self._interval)

    def _conclude(self, came: bytes, digest: bytes, counts: Mapping[str, int]) -> None:
        """Compare what the target has with what it says it has."""
        ours = SetDigest()
        received = 0
        for number in range(self._count):
            if came[number >> 3] >> (number & 7) & 1:
                received += 1
                ours.add(number, self._payload.read(number * self._size, self._size))
        self._payload.close()
        results = _results(self._count, received, counts)
        error = "" if ours.digest() == digest else "the target has other bytes than were sent"
        self.outcome = Outcome(
            ok=not error,
            error=error,
            bytes=received * self._size,
            sha256=ours.digest().hex(),
            results=results,
        )


class DatagramTarget(Side):
    """Counts what comes, and reports when asked."""

    connectionless = True

    def __init__(self, *, size: int, count: int) -> None:
        self._size, self._count = size, count
        self._came = bytearray(-(-count // 8))
        self._digest = SetDigest()
        self._received = self._duplicates = self._late = 0
        #: Packets of the source that had come once more before the flow began.
        self._before = 0
        self._over_at: Instant | None = None
        self._datagrams: FlowDatagrams | None = None

    def begin(self, datagrams: FlowDatagrams, *, now: Instant) -> None:
        """Wait for the first."""
        self._datagrams = datagrams
        self._before = datagrams.duplicates()

    def receive_datagram(self, data: Data, *, now: Instant) -> None:
        """Count a datagram, or answer the source."""
        if len(data) < _NUMBER.size or self.outcome is not None:
            return
        kind, number = _NUMBER.unpack_from(data)
        if kind == DATA:
            self._count_one(number, data[_NUMBER.size :])
        elif kind == END:
            self._report(now)
        elif kind == DONE and self._over_at is not None:
            self._conclude()

    def handle_timeout(self, *, now: Instant) -> None:
        """Stop waiting for the source to say that it has the report."""
        if self._over_at is not None and now >= self._over_at:
            self._conclude()

    def next_timeout(self) -> Instant | None:
        """Return when to stop waiting for the source."""
        return self._over_at if self.outcome is None else None

    def progress(self) -> tuple[int, int | None]:
        """Return payload bytes received, and all there could be."""
        return self._received * self._size, self._count * self._size

    def _count_one(self, number: int, payload: Data) -> None:
        if number >= self._count or len(payload) != self._size:
            raise WorkloadError(f"datagram {number} of {len(payload)} bytes, announced were {self._size}")
        if self._came[number >> 3] >> (number & 7) & 1:
            self._duplicates += self._over_at is None  # the source itself sent it twice
        elif self._over_at is not None:
            self._late += 1  # what is reported once stays as it was reported
        else:
            self._came[number >> 3] |= 1 << (number & 7)
            self._received += 1
            self._digest.add(number, payload)

    def _report(self, now: Instant) -> None:
        assert self._datagrams is not None
        if self._over_at is None:
            # What the network made two of: the transport lets none of these through (SPEC 14-4).
            self._duplicates += self._datagrams.duplicates() - self._before
        self._over_at = now + TARGET_PATIENCE
        head = _REPORT.pack(REPORT, self._duplicates, self._late, self._digest.digest())
        self._datagrams.send(head + self._came)

    def _conclude(self) -> None:
        results = _results(self._count, self._received, {"duplicates": self._duplicates, "late": self._late})
        self.outcome = Outcome(
            ok=True, bytes=self._received * self._size, sha256=self._digest.digest().hex(), results=results
        )


def _results(sent: int, received: int, counts: Mapping[str, int]) -> dict[str, object]:
    return {"sent": sent, "received": received, "lost": sent - received, **counts}
