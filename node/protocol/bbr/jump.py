"""How Startup jumps ahead on a long path: by how fast the first flight came through (SPEC 8.1.3-9).

Startup doubles once a round trip; where that takes half a second, 250 Mbit/s are found after six. The
packets of the first flight leave together and are acknowledged as far apart as the slowest link let them
through, which says after one round trip what the link may bear. It is a guess: acknowledgements that come
in clumps make it too high. So it sizes one flight and is bounded; the flight's own acknowledgements say
whether it was right: they raise window and pace as those of slow start do, and a loss ends it all.
"""

from __future__ import annotations

from node.protocol.bbr.constants import LONG_PATH, MAX_JUMP_BYTES
from node.protocol.recovery.samples import AckSample
from node.protocol.time import SECOND, Duration, Instant

#: So many acknowledgements after the first one make a train: fewer say more of chance than of the path.
MIN_ACKNOWLEDGEMENTS = 3
#: After a jump, so many acknowledgements in a row of packets that took longer than min_rtt by this part of
#: it say that the pipe is full. Three round trips without growth would say it too, a buffer later.
QUEUE_ACKNOWLEDGEMENTS = 4
QUEUE_PART = 4
#: The round trip in which the first flight is acknowledged.
FIRST_ROUND = 1


class Jump:
    """Says how far to go with each acknowledgement, as long as it is not over."""

    def __init__(self) -> None:
        self.over = False
        #: Bytes that the jump lets be in flight; 0: it has not begun.
        self.window = 0
        #: The round trip in which it is sent; its acknowledgements come in the next.
        self._round = FIRST_ROUND
        self._sent: Instant | None = None
        self._since: Instant = 0
        self._last: Instant = 0
        self._bytes = self._acknowledgements = 0
        #: Whether a queue ends Startup: it goes on from a rate that is not of its own search.
        self.watches_queue = False
        self._queued = 0

    def sees_queue(self, rtt: Duration, min_rtt: Duration) -> bool:
        """Take the round trip of an acknowledgement; return whether the pipe is full, where that is asked."""
        late = self.watches_queue and rtt > min_rtt + min_rtt // QUEUE_PART
        self._queued = self._queued + 1 if late else 0
        return self._queued >= QUEUE_ACKNOWLEDGEMENTS

    def update(self, sample: AckSample, *, round_count: int, min_rtt: Duration) -> None:
        """Take an acknowledgement."""
        if round_count > (self._round + 2 if self.window else FIRST_ROUND):
            self.over = True
        elif round_count == self._round + 1:
            self.window += sample.acked_bytes
        elif round_count == FIRST_ROUND and min_rtt >= LONG_PATH:
            self._measure(sample, min_rtt)

    def resume(self, window: int) -> None:
        """Go to a window that is known from an earlier connection, with the first flight (SPEC 8-7)."""
        self.window, self.watches_queue = window, window > 0
        self._round = FIRST_ROUND - 1

    def pacing_rate(self, min_rtt: Duration) -> int:
        """Return the rate that sends the window in a round trip, bytes/s."""
        return self.window * SECOND // max(1, min_rtt)

    def _measure(self, sample: AckSample, min_rtt: Duration) -> None:
        """Size the jump by what came after the first acknowledgement of packets sent together."""
        if sample.newest_sent != self._sent:
            self._sent, self._since, self._last = sample.newest_sent, sample.now, sample.now
            self._bytes = self._acknowledgements = 0
            return
        span_before = self._last - self._since
        self._last, span = sample.now, sample.now - self._since
        self._bytes += sample.acked_bytes
        self._acknowledgements += 1
        if self._acknowledgements < MIN_ACKNOWLEDGEMENTS or not span:
            return
        if self._acknowledgements > MIN_ACKNOWLEDGEMENTS and span > 2 * span_before:
            return  # the last packet waited for another to be acknowledged with, not for the link
        self.window = min(self._bytes * min_rtt // span, MAX_JUMP_BYTES)
        self.watches_queue = self.window > 0
