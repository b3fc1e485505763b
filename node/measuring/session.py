"""Sends measuring streams from ends of links, and takes those that come to ends of links.

A session may have both ends of a link or one: then another process has the other. Arrivals have the kernel's
timestamp (SO_TIMESTAMPNS) where there is one, taken when the frame came to the interface: how soon this
process reads it does not matter then. Departures are stamped just before the frame is handed to the kernel.
Both are on CLOCK_REALTIME, which all processes of one kernel share, in whatever namespaces they are.
"""

from __future__ import annotations

import heapq
import selectors
import threading
import time
from collections.abc import Mapping

from node.measuring.ends import ETHERNET_BYTES, End
from node.measuring.frames import frame_number, probe_frame
from node.measuring.streams import Arrival, Observed, Stream
from node.measuring.trains import release

#: Frames read at a time before others may send.
_READ_AT_ONCE = 64
#: How often a session looks whether it is to begin, or to end, ns.
_LOOK = 10_000_000
#: Copies of a stream's frames that are kept, for each frame that was sent: no link makes so many.
_MOST_COPIES = 4


class Session:
    """One set of streams, from the first frame to the last.

    Args:
        streams: by the end that sends.
        number: of the set, from 0 to 255: late frames of another one are not taken for this one's.
        sources: the ends that send from here, by their names.
        targets: the ends here where streams arrive, by the name of the end that sends.
    """

    def __init__(
        self,
        streams: Mapping[str, Stream],
        *,
        number: int,
        sources: Mapping[str, End],
        targets: Mapping[str, End],
    ) -> None:
        self._number = number
        self.observed = {end: Observed(wanted) for end, wanted in streams.items()}
        self._sources = sources
        self._targets = targets
        #: (when, end, number): the next frames of each stream.
        self._due: list[tuple[int, str, int]] = []
        self._missing = sum(streams[end].count for end in targets)
        #: Frames that have come, and when; they are looked into at the end.
        self._came: dict[str, list[tuple[bytes, int]]] = {end: [] for end in targets}
        self._ready, self._begun, self._sent = threading.Event(), threading.Event(), threading.Event()
        #: How long to wait for frames on their way, ns; None: others may still send.
        self._linger: int | None = None
        self._cancelled = False

    # For another thread than the one that runs it.

    def wait_ready(self) -> None:
        """Wait until frames that come are taken."""
        self._ready.wait()

    def begin(self) -> None:
        """Let it send."""
        self._begun.set()

    def wait_sent(self) -> None:
        """Wait until all is sent that is to be sent from here."""
        self._sent.wait()

    def end(self, linger: int) -> None:
        """Let it end ``linger`` ns after its last frame is sent, or as soon as all have come."""
        self._linger = linger

    def cancel(self) -> None:
        """Let it end now."""
        self._cancelled = True
        self._linger = 0

    # For the thread that runs it.

    def run(self) -> dict[str, Observed]:
        """Send and receive until nothing more comes, or as long as ``end`` says; return what became of all.

        Raises:
            OSError: a frame cannot be sent or received.
        """
        try:
            self._run()
        finally:
            # Nobody is to wait for a session that has failed.
            self._ready.set()
            self._sent.set()
        for end, source in self._sources.items():
            if self.observed[end].stream.together > 1 and source.stamped:
                release(source.trains)
        for end in self._targets:
            self._look_into(end)
        return self.observed

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for end, target in self._targets.items():
                while target.receive() is not None:
                    pass  # of streams before
                selector.register(target.packets, selectors.EVENT_READ, end)
            self._ready.set()
            deadline = None
            while deadline is None or time.monotonic_ns() < deadline:
                wait = self._send_due()
                if wait is None and self._linger is not None:
                    deadline = deadline or time.monotonic_ns() + self._linger
                    if self._missing <= 0:
                        break
                    wait = deadline - time.monotonic_ns()
                for key, _ in selector.select(max(0, _LOOK if wait is None else wait) / 1e9):
                    self._read(key.data)
        # What lies there has come in time, however long it takes to read the rest of a hundred links.
        for end in self._targets:
            while self._read(end):
                pass

    def _send_due(self) -> int | None:
        """Send what is due; return how long until the next is, ns; None: there is nothing to send."""
        if self._cancelled:
            self._due.clear()
            return None
        if not self._begun.is_set():
            return None if self._linger is not None else _LOOK
        if not self._sent.is_set() and not self._due:
            self._schedule()
        while self._due:
            wait = self._due[0][0] - time.monotonic_ns()
            if wait > 0:
                return wait
            at, end, number = heapq.heappop(self._due)
            stream = self.observed[end].stream
            if stream.together > 1 and self._sources[end].stamped:
                self._send_train(end)
                continue
            after = min(stream.count, number + stream.together)
            for one in range(number, after):
                self._send(end, one)
            if after < stream.count:
                heapq.heappush(self._due, (at + (after - number) * stream.interval, end, after))
        self._sent.set()
        return None

    def _schedule(self) -> None:
        start = time.monotonic_ns() + 1_000_000
        for place, end in enumerate(self._sources):
            # Not all at the same instant: frames of one moment would wait for each other here.
            offset = self.observed[end].stream.interval * place // len(self._sources)
            heapq.heappush(self._due, (start + offset, end, 0))

    def _send_train(self, end: str) -> None:
        """Send a whole train at its pace, and read nothing meanwhile: the kernel stamps arrivals."""
        observed = self.observed[end]
        count, interval, together = observed.stream.count, observed.stream.interval, observed.stream.together
        frames = [self._frame_from(end, number) for number in range(count)]
        with self._sources[end].train(frames) as train:
            start = time.monotonic_ns()
            for first in range(0, count, together):
                ahead = start + first * interval - time.monotonic_ns()
                if ahead > 0:
                    time.sleep(ahead / 1e9)
                size = min(together, count - first)
                observed.departures.extend([time.time_ns()] * size)
                train.send(first, size)

    def _send(self, end: str, number: int) -> None:
        frame = self._frame_from(end, number)
        self.observed[end].departures.append(time.time_ns())
        self._sources[end].send(frame)

    def _frame_from(self, end: str, number: int) -> bytes:
        source = self._sources[end]
        size = self.observed[end].stream.size - source.added
        return probe_frame(number, size, source=source.mac, destination=source.peer, stream=self._number)

    def _read(self, end: str) -> bool:
        """Read some of what has come from ``end``; return whether there may be more."""
        target, came = self._targets[end], self._came[end]
        most = _MOST_COPIES * self.observed[end].stream.count
        for _ in range(_READ_AT_ONCE):
            found = target.receive()
            if found is None:
                return False
            if frame_number(found[0], stream=self._number) is not None and len(came) < most:
                came.append(found)
                self._missing -= 1
        return True

    def _look_into(self, end: str) -> None:
        """Find which frames have come from ``end``, and in which state."""
        observed, target = self.observed[end], self._targets[end]
        size = observed.stream.size - target.added
        for frame, at in self._came[end]:
            number = frame_number(frame, stream=self._number)
            assert number is not None, "it had one when it came"
            whole = b""
            if number < observed.stream.count:
                whole = probe_frame(
                    number, size, source=target.peer, destination=target.mac, stream=self._number
                )
            observed.arrivals.append(Arrival(number, at, damaged=frame != whole))
            observed.oversize += len(frame) + target.added > target.mtu + ETHERNET_BYTES
