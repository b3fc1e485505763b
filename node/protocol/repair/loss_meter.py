"""How a path loses packets, from the sender's own records: the share, and how many in a row (SPEC 12.3-1)."""

from __future__ import annotations

#: Fewer packets than this say little about a share: a round is then as long as it takes.
MIN_SAMPLE_PACKETS = 32
#: Weight of the newest round in the smoothed share, ...
GAIN = 0.125
#: ... and if it is more than twice that share: a path that turns bad is believed within a few round trips.
GAIN_OF_CHANGE = 0.5
#: Weight of the newest run of losses in their mean length.
RUN_GAIN = 0.125
#: Below this share a path counts as free of loss.
NOTICEABLE = 0.0005


class LossMeter:
    """Takes what became of packets, round trip by round trip.

    Args:
        least: share of loss to expect of any path.
    """

    def __init__(self, least: float = 0.0) -> None:
        #: Share of packets lost, 0 to 1; smoothed.
        self.loss = self._least = least
        #: Mean number of packets lost in a row; smoothed, at least 1.
        self.burst = 1.0
        self._acked = self._lost = 0
        self._round_end = 0
        self._run_end = -1  # the packet after the last one lost
        self._run = 0

    def on_acked(self, first: int, count: int, *, next_packet_number: int) -> None:
        """Note acknowledged packets of one burst, ``first`` being its lowest number."""
        self._acked += count
        if first >= self._round_end and self._acked + self._lost >= MIN_SAMPLE_PACKETS:
            sample = self._lost / (self._acked + self._lost)
            self.loss += (sample - self.loss) * (GAIN_OF_CHANGE if sample > 2 * self.loss else GAIN)
            self.loss = max(self.loss, self._least)
            self._acked = self._lost = 0
            self._round_end = next_packet_number

    def on_lost(self, start: int, end: int) -> None:
        """Note a run of lost packets ``[start, end)``."""
        self._lost += end - start
        if start == self._run_end:
            self._run += end - start
        else:
            if self._run:
                self.burst += (self._run - self.burst) * RUN_GAIN
            self._run = end - start
        self._run_end = end

    @property
    def noticeable(self) -> bool:
        """Whether the path loses packets worth repairing."""
        return self.loss >= NOTICEABLE
