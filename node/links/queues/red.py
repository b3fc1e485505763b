"""RED (Floyd and Jacobson 1993): drop or mark by chance, the more the longer the average queue.

The average is an exponential one over arrivals, moved on through idle times; the chance grows linearly from
the lower to the upper threshold, and packets since the last mark make marks evenly spaced (§IV of the
paper, as Linux does it in include/net/red.h). Thresholds are bytes.
"""

from __future__ import annotations

from random import Random

from node.links.queues.base import BYTE_NS, FULL_FRAME, Fifo, Queued, Tally
from node.protocol.time import Instant

#: Chance of a mark at the upper threshold: Floyd's advice of 1997 (www.icir.org/floyd/REDparameters.txt).
MAX_PROBABILITY = 0.1
#: The upper threshold is a third of what fits, and three times the lower one.
_UPPER_SHARE, _LOWER_SHARE = 3, 9


class RedThresholds:
    """What RED works with for a queue of so many bytes: limits in bytes, and the average's weight."""

    def __init__(self, limit_bytes: int) -> None:
        #: A few frames at least, else nothing is between the thresholds.
        self.limit = max(limit_bytes, 18 * FULL_FRAME)
        self.lower = self.limit // _LOWER_SHARE
        self.upper = self.limit // _UPPER_SHARE
        #: Packets that may come in a burst; as tc's manual has it.
        self.burst = (2 * self.lower + self.upper) // (3 * FULL_FRAME) + 1
        #: The average's weight is 2 to the power of minus this.
        self.weight_log = self._weight_log()

    def _weight_log(self) -> int:
        # tc's tc_red_eval_ewma(): the smallest weight with which a burst from empty stays below the lower
        # threshold.
        room = self.burst + 1 - self.lower / FULL_FRAME
        weight = 0.5
        for log in range(1, 32):
            if room <= (1 - (1 - weight) ** self.burst) / weight:
                return log
            weight /= 2
        return 31


class Red(Fifo):
    """A queue of bytes under RED.

    Args:
        ecn: whether it marks instead of dropping; where the average is above the upper threshold, too.
    """

    def __init__(
        self, thresholds: RedThresholds, rate_bps: int, tally: Tally, rng: Random, *, ecn: bool
    ) -> None:
        super().__init__(tally)
        self._thresholds = thresholds
        self._rng = rng
        self._ecn = ecn
        self._frame_time = FULL_FRAME * BYTE_NS / rate_bps
        self._average = 0.0
        self._since = -1
        self._spacing = 0.0
        # Since when nothing has been here; None: something is.
        self._idle_since: Instant | None = 0

    def enqueue(self, queued: Queued, now: Instant) -> None:
        """Take, mark or drop a packet by the average queue."""
        self._update_average(now)
        chosen = self._chosen() and not (self._ecn and self.mark(queued))
        if chosen or self.occupied_bytes + queued.size > self._thresholds.limit:
            self.drop(queued)
        else:
            self.append(queued, now)

    def dequeue(self, now: Instant) -> Queued | None:
        """Return the first packet."""
        queued = self.pop()
        if queued is not None and not self.packets:
            self._idle_since = now + round(self._frame_time * queued.size / FULL_FRAME)
        return queued

    def _update_average(self, now: Instant) -> None:
        log = self._thresholds.weight_log
        if self._idle_since is not None and not self.occupied:
            idle = max(0, now - self._idle_since) / self._frame_time
            self._average *= (1 - 2.0**-log) ** idle
            self._idle_since = None
        else:
            self._average += (self.occupied_bytes - self._average) / 2**log

    def _chosen(self) -> bool:
        lower, upper = self._thresholds.lower, self._thresholds.upper
        if self._average < lower:
            self._since = -1
            return False
        if self._average >= upper:
            self._since = -1
            return True
        self._since += 1
        if self._since == 0:
            self._spacing = self._draw_spacing()
            return False
        if (self._average - lower) * self._since < self._spacing:
            return False
        self._since = 0
        self._spacing = self._draw_spacing()
        return True

    def _draw_spacing(self) -> float:
        # Uniform up to what makes the chance MAX_PROBABILITY at the upper threshold.
        return self._rng.random() * (self._thresholds.upper - self._thresholds.lower) / MAX_PROBABILITY
