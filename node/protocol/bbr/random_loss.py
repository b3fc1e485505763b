"""Loss that is not of the sender's making: it stays when the sender slows down (SPEC 8.1.3-10).

The draft takes every loss for congestion, answers it by slowing down a little each round trip, and calls
more than 2 % too much; on a path that loses one packet in twenty whatever is sent, it ends at a tenth of
the rate. So what slowing down achieves is looked at. A queue that overflows or a policer lose less, or
nothing, when a seventh less is sent; a path that loses by chance loses the same share. Only when that is
so, and no queue is to be seen in the round-trip times either, that share is taken out of the account of
congestion, for some cycles, until it has to be shown again.
"""

from __future__ import annotations

from math import sqrt

from node.protocol.bbr.constants import LOSS_THRESHOLD
from node.protocol.time import Duration

#: Slowed down means to this part of the bandwidth that the path has shown.
SLOWED = 0.85
#: No queue worth speaking of: the least round trip of a round is at most this part of min_rtt above it, or
#: half of the most that a queue has added of late, whichever is more.
QUIET_MARGIN = 8
#: So many packets at each rate, and slowed down in so many round trips, before anything is concluded ...
MIN_PACKETS = 60
MIN_SLOW_ROUNDS = 3
#: ... namely that loss has not fallen below this part of what it was.
UNCHANGED = 0.5
#: Less than this the draft's own rules live with: it is what others of a shared, shallow queue cause as
#: well, whom a sender that stands firm would push aside. More than that is never taken for chance.
MIN_RATIO, MAX_RATIO = LOSS_THRESHOLD, 0.1
#: What is left of it after each cycle in which it was not shown again.
KEPT = 0.875


class _Rounds:
    """Bytes lost and delivered in some round trips."""

    def __init__(self) -> None:
        self.lost = self.acked = self.rounds = 0

    def add(self, lost: int, acked: int) -> None:
        self.lost += lost
        self.acked += acked
        self.rounds += 1

    def ratio(self, packet: int) -> float | None:
        """Return the share lost; None: too little was sent to say."""
        total = self.lost + self.acked
        return None if total < MIN_PACKETS * packet else self.lost / total

    def halve(self) -> None:
        self.lost //= 2
        self.acked //= 2


class RandomLoss:
    """The share of packets that the path loses by chance.

    Args:
        max_datagram_size: bytes of a full packet.
    """

    def __init__(self, max_datagram_size: int) -> None:
        #: The share, from 0 to ``MAX_RATIO``.
        self.ratio = 0.0
        self._packet = max_datagram_size
        self._fast, self._slow = _Rounds(), _Rounds()
        self._lost = self._acked = 0
        self._least_rtt: Duration = 1 << 62
        #: The most of the last rounds' least round trips, forgotten slowly.
        self._most_rtt: Duration = 0

    def allowance(self, sent: int) -> int:
        """Return how many of ``sent`` bytes chance may have lost, bytes.

        Packets lost by chance are spread about their mean with its square root; more than three times that
        is once in a thousand.
        """
        mean = self.ratio * sent
        return int(mean + 3 * sqrt(mean * self._packet)) if mean else 0

    def note_lost(self, lost: int) -> None:
        """Count lost bytes."""
        self._lost += lost

    def take(self, *, acked: int, rtt: Duration) -> None:
        """Count what one acknowledgement tells."""
        self._acked += acked
        self._least_rtt = min(self._least_rtt, rtt)

    def end_round(self, *, bandwidth: int, max_bandwidth: int, min_rtt: Duration, counts: bool) -> bool:
        """End a round trip; return whether what was lost of late proves to be chance.

        Args:
            bandwidth: what was sent at, bytes/s.
            counts: whether the round trip was neither spent on probing nor limited by the application.
        """
        self._most_rtt = max(self._most_rtt, self._least_rtt)
        margin = max(min_rtt // QUIET_MARGIN, (self._most_rtt - min_rtt) // 2)
        if counts and self._least_rtt <= min_rtt + margin:
            kind = self._slow if bandwidth <= SLOWED * max_bandwidth else self._fast
            kind.add(self._lost, self._acked)
        self._lost = self._acked = 0
        self._least_rtt = 1 << 62
        before, after = self._fast.ratio(self._packet), self._slow.ratio(self._packet)
        if before is None or after is None or self._slow.rounds < MIN_SLOW_ROUNDS:
            return False
        self._slow = _Rounds()
        if not max(UNCHANGED * before, MIN_RATIO) <= after <= MAX_RATIO:
            return False
        found = after > self.ratio
        self.ratio = max(self.ratio, after)
        return found

    def end_cycle(self, min_rtt: Duration) -> None:
        """A cycle of probing is over."""
        self.ratio *= KEPT
        self._fast.halve()
        self._slow = _Rounds()
        self._most_rtt -= max(0, self._most_rtt - min_rtt) // QUIET_MARGIN
