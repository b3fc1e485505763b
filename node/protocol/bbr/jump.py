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
#: The first flight's round trip, the jump's own, and that of its acknowledgements.
FIRST_ROUND, LAST_ROUND = 1, 3


class Jump:
    """Says how far to go with each acknowledgement, as long as it is not over."""

    def __init__(self) -> None:
        self.over = False
        #: Bytes that the jump lets be in flight; 0: it has not begun.
        self.window = 0
        self._sent: Instant | None = None
        self._since: Instant = 0
        self._bytes = self._acknowledgements = 0

    def update(self, sample: AckSample, *, round_count: int, min_rtt: Duration) -> None:
        """Take an acknowledgement."""
        if min_rtt < LONG_PATH or round_count > (LAST_ROUND if self.window else FIRST_ROUND):
            self.over = True
        elif round_count == FIRST_ROUND:
            self._measure(sample, min_rtt)
        elif round_count == LAST_ROUND - 1:
            self.window += sample.acked_bytes

    def pacing_rate(self, min_rtt: Duration) -> int:
        """Return the rate that sends the window in a round trip, bytes/s."""
        return self.window * SECOND // max(1, min_rtt)

    def _measure(self, sample: AckSample, min_rtt: Duration) -> None:
        """Size the jump by what came after the first acknowledgement of packets sent together."""
        if sample.newest_sent != self._sent:
            self._sent, self._since = sample.newest_sent, sample.now
            self._bytes = self._acknowledgements = 0
            return
        self._bytes += sample.acked_bytes
        self._acknowledgements += 1
        span = sample.now - self._since
        if self._acknowledgements >= MIN_ACKNOWLEDGEMENTS and span > 0:
            found = min(self._bytes * min_rtt // span, MAX_JUMP_BYTES)
            # An odd packet at the train's end is acknowledged late: that says nothing of the path.
            self.window = max(self.window, found)
