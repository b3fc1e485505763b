"""Sends measuring streams with raw sockets at both ends of real links.

Arrivals have the kernel's timestamp (SO_TIMESTAMPNS), taken when the frame came to the interface: how soon
this process reads it does not matter. Departures are stamped just before the frame is handed to the kernel.
"""

from __future__ import annotations

import heapq
import selectors
import socket
import struct
import time
from collections.abc import Mapping

from node.measuring.ends import ETHERNET_BYTES, LARGEST_FRAME, End
from node.measuring.frames import frame_number, probe_frame
from node.measuring.streams import Arrival, Observed, Stream
from node.measuring.trains import Train, release

_TIMESPEC = struct.Struct("=qq")
#: Frames read at a time before others may send.
_READ_AT_ONCE = 64


class Session:
    """One set of streams, from the first frame to the last."""

    def __init__(
        self,
        ends: Mapping[str, End],
        opposite: Mapping[str, str],
        streams: Mapping[str, Stream],
        stream: int,
    ) -> None:
        self._stream = stream
        self.observed = {end: Observed(wanted) for end, wanted in streams.items()}
        self._sources = {end: ends[end] for end in streams}
        self._targets = {end: ends[opposite[end]] for end in streams}
        #: (when, end, number): the next frame of each stream.
        self._due: list[tuple[int, str, int]] = []
        self._missing = sum(wanted.count for wanted in streams.values())

    def run(self, linger: int) -> dict[str, Observed]:
        """Send and receive until nothing more comes, or ``linger`` ns after the last frame."""
        start = time.monotonic_ns() + 1_000_000
        with selectors.DefaultSelector() as selector:
            for number, (end, target) in enumerate(self._targets.items()):
                self._discard(target.packets)
                selector.register(target.packets, selectors.EVENT_READ, end)
                # Not all at the same instant: frames of one moment would wait for each other here.
                interval = self.observed[end].stream.interval
                offset = interval * number // len(self._targets)
                heapq.heappush(self._due, (start + offset, end, 0))
            deadline = None
            while deadline is None or time.monotonic_ns() < deadline:
                wait = self._send_due()
                if wait is None:
                    deadline = deadline or time.monotonic_ns() + linger
                    if self._missing <= 0:
                        break
                    wait = deadline - time.monotonic_ns()
                for key, _ in selector.select(max(0, wait) / 1e9):
                    self._read(key.data)
        # What lies there has come in time, however long it takes to read the rest of a hundred links.
        for end in self._targets:
            while self._read(end):
                pass
        for end, observed in self.observed.items():
            if observed.stream.together > 1:
                release(self._sources[end].trains)
        return self.observed

    def _send_due(self) -> int | None:
        """Send what is due; return how long until the next is, ns; None: all is sent."""
        while self._due:
            wait = self._due[0][0] - time.monotonic_ns()
            if wait > 0:
                return wait
            at, end, number = heapq.heappop(self._due)
            stream = self.observed[end].stream
            if stream.together > 1:
                self._send_train(end)
                continue
            self._send(end, number)
            if number + 1 < stream.count:
                heapq.heappush(self._due, (at + stream.interval, end, number + 1))
        return None

    def _send_train(self, end: str) -> None:
        """Send a whole train at its pace, and read nothing meanwhile: the kernel stamps arrivals."""
        source, observed = self._sources[end], self.observed[end]
        count, interval, together = observed.stream.count, observed.stream.interval, observed.stream.together
        frames = [self._frame(end, number) for number in range(count)]
        with Train(source.trains, source.packets, source.interface, frames) as train:
            start = time.monotonic_ns()
            for first in range(0, count, together):
                ahead = start + first * interval - time.monotonic_ns()
                if ahead > 0:
                    time.sleep(ahead / 1e9)
                size = min(together, count - first)
                observed.departures.extend([time.time_ns()] * size)
                train.send(first, size)

    def _send(self, end: str, number: int) -> None:
        frame = self._frame(end, number)
        self.observed[end].departures.append(time.time_ns())
        self._sources[end].packets.send(frame)

    def _frame(self, end: str, number: int) -> bytes:
        return probe_frame(
            number,
            self.observed[end].stream.size,
            source=self._sources[end].mac,
            destination=self._targets[end].mac,
            stream=self._stream,
        )

    def _read(self, end: str) -> bool:
        """Read some of what has come from ``end``; return whether there may be more."""
        observed, reader = self.observed[end], self._targets[end].packets
        for _ in range(_READ_AT_ONCE):
            try:
                frame, extra, _, _ = reader.recvmsg(LARGEST_FRAME, socket.CMSG_SPACE(_TIMESPEC.size))
            except BlockingIOError:
                return False
            number = frame_number(frame, stream=self._stream)
            if number is None:
                continue
            seconds, nanoseconds = _TIMESPEC.unpack(extra[0][2][: _TIMESPEC.size])
            whole = self._frame(end, number) if number < observed.stream.count else b""
            at = seconds * 1_000_000_000 + nanoseconds
            observed.arrivals.append(Arrival(number, at, damaged=frame != whole))
            observed.oversize += len(frame) > self._targets[end].mtu + ETHERNET_BYTES
            self._missing -= 1
        return True

    @staticmethod
    def _discard(reader: socket.socket) -> None:
        """Forget what came of streams before."""
        while True:
            try:
                reader.recv(LARGEST_FRAME)
            except BlockingIOError:
                return
