"""Jumps: a window far beyond what slow start would allow, and the way back (SPEC 8.1.1-4, 8.1.1-5).

Slow start takes ten round trips to fill a satellite path. Where there is a reason to think that a path
carries more, from an earlier connection (careful resume, draft-ietf-tsvwg-careful-resume) or from how the
path spreads a train of packets, the window goes up at once, paced over a round trip. Until as much has
been acknowledged it is a guess, and a loss falls back to what has been.
"""

from __future__ import annotations

from node.protocol.recovery.samples import AckSample
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant

#: Shorter paths are filled within a second by slow start.
LONG_PATH_RTT: Duration = 100 * MILLISECOND
#: A train of fewer packets than this after its first acknowledgement says nothing.
MIN_TRAIN_PACKETS = 6
#: However fast a train came through, never more than so many times what has been delivered in the last round
#: trip: acknowledgements that come compressed make any capacity look larger.
MAX_GROWTH = 64


class Jump:
    """A window that is not validated yet."""

    def __init__(self) -> None:
        self._target = 0
        self._began: Instant = 0
        #: What the path has been seen to carry since: the window before, and what was acknowledged.
        self.validated = 0

    @property
    def is_open(self) -> bool:
        """Whether the window is still a guess."""
        return self.validated < self._target

    def begin(self, window: int, *, before: int, now: Instant) -> None:
        """Go to ``window`` from the window there was."""
        if not self.is_open:
            self.validated, self._began = before, now
        self._target = window

    def on_ack(self, sample: AckSample) -> bool:
        """Count what arrives; return whether it was sent since the jump."""
        sent_since = sample.newest_sent >= self._began
        if sent_since:
            self.validated += sample.acked_bytes
        return sent_since

    def end(self) -> None:
        """Take the window for what it is, or give it up."""
        self._target = 0


class PacketTrain:
    """Measures the capacity of a path by how far apart the acknowledgements of one burst come."""

    def __init__(self, packet_size: int) -> None:
        #: Bytes of a full packet.
        self.packet_size = packet_size
        self._sent: Instant = -1
        self._first: Instant = 0
        self._size = 0
        #: Bytes a second; 0: nothing is known.
        self.capacity = 0

    def on_ack(self, sample: AckSample) -> None:
        """Take an acknowledgement; what was sent at one time is a train."""
        if sample.newest_sent != self._sent:
            self._sent, self._first, self._size = sample.newest_sent, sample.now, 0
            return
        self._size += sample.acked_bytes
        if self._size >= MIN_TRAIN_PACKETS * self.packet_size and sample.now > self._first:
            capacity = self._size * SECOND // (sample.now - self._first)
            # An odd packet at the train's end is acknowledged late: that says nothing of the path.
            self.capacity = max(self.capacity, capacity)

    def window(self, sample: AckSample) -> int:
        """Return the window to jump to on a long path; 0: there is no reason to."""
        if not self.capacity or sample.rtt.min_rtt < LONG_PATH_RTT:
            return 0
        product = self.capacity * sample.rtt.min_rtt // SECOND
        return min(product, MAX_GROWTH * (sample.delivered - sample.prior_delivered))
