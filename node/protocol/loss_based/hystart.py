"""HyStart++ (RFC 9406, SPEC 8.1.1-2): leaves slow start when round trips get longer, before anything is lost.

A longer round trip is a queue that builds up, or jitter. So growth is first slowed down for some rounds
(conservative slow start), and slow start goes on if the round trip gets short again.
"""

from __future__ import annotations

from node.protocol.recovery.samples import AckSample
from node.protocol.time import MILLISECOND, Duration

# RFC 9406 §4.3
MIN_RTT_THRESHOLD: Duration = 4 * MILLISECOND
MAX_RTT_THRESHOLD: Duration = 16 * MILLISECOND
MIN_RTT_DIVISOR = 8
RTT_SAMPLES = 8
CSS_GROWTH_DIVISOR = 4
CSS_ROUNDS = 5
#: Longer than any round trip.
_NONE: Duration = 1 << 62


class HyStart:
    """Watches one slow start.

    A round is over when something sent after its begin is acknowledged; bytes delivered tell (§4.2
    takes sequence numbers). L is infinite: what we send is paced.
    """

    def __init__(self) -> None:
        #: Whether it is in conservative slow start.
        self.is_conservative = False
        #: Whether slow start is over.
        self.is_over = False
        self._next_round = 0
        self._last_round_min_rtt = _NONE
        self._round_min_rtt = _NONE
        self._samples = 0
        self._baseline: Duration = _NONE
        self._rounds = 0

    def on_ack(self, sample: AckSample) -> int:
        """Take an acknowledgement in slow start; return by how many bytes the window may grow."""
        if sample.prior_delivered >= self._next_round:
            self._begin_round(sample.delivered)
        growth = sample.acked_bytes // (CSS_GROWTH_DIVISOR if self.is_conservative else 1)
        if sample.rtt_sample:
            self._round_min_rtt = min(self._round_min_rtt, sample.rtt_sample)
            self._samples += 1
        if self._samples >= RTT_SAMPLES:
            self._judge()
        return growth

    def _judge(self) -> None:
        if self.is_conservative:
            if self._round_min_rtt < self._baseline:  # it was no queue after all
                self.is_conservative, self._baseline = False, _NONE
            return
        if self._last_round_min_rtt == _NONE:
            return
        threshold = self._last_round_min_rtt // MIN_RTT_DIVISOR
        threshold = max(MIN_RTT_THRESHOLD, min(threshold, MAX_RTT_THRESHOLD))
        if self._round_min_rtt >= self._last_round_min_rtt + threshold:
            self.is_conservative, self._baseline, self._rounds = True, self._round_min_rtt, 0

    def _begin_round(self, delivered: int) -> None:
        self._next_round = delivered
        self._last_round_min_rtt, self._round_min_rtt = self._round_min_rtt, _NONE
        self._samples = 0
        if self.is_conservative:
            self._rounds += 1
            self.is_over = self._rounds >= CSS_ROUNDS
