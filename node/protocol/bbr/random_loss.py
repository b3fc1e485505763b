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
from node.protocol.time import Duration, Instant

#: Slowed down means to this part of the bandwidth that the path has shown.
SLOWED = 0.85
#: No queue worth speaking of: the least round trip of a round is at most this part of min_rtt above it, or
#: half of the most that a queue has added of late, whichever is more.
QUIET_MARGIN = 8
#: So many packets at each rate, and slowed down in so many round trips, before anything is concluded ...
MIN_FAST_PACKETS, MIN_SLOW_PACKETS = 60, 100
MIN_SLOW_ROUNDS = 3
#: ... and so many at full rate at most: what was before them counts half as much.
MAX_PACKETS = 2000
#: Loss is by chance if it has not fallen below this part of what it was.
UNCHANGED = 0.6
#: ... and less arrives, at most this part: a policer or a full link lets through as much as before.
ARRIVES = 0.94
#: Less than this the draft's own rules live with: it is what others of a shared, shallow queue cause as
#: well, whom a sender that stands firm would push aside. More than that is never taken for chance.
MIN_RATIO, MAX_RATIO = LOSS_THRESHOLD, 0.1
#: A proof holds for so many cycles, half a minute or more; then it has to be given anew ...
PROOF_CYCLES = 16
#: ... and until then for no more than this times the share that was proved, or so many deviations more: a
#: few hundred packets that lost six may be of a path that loses nearly twice as many.
TRUSTED, TRUSTED_DEVIATIONS = 1.5, 2
#: A share of this times what was proved before is news: what was answered as congestion may have been none.
MORE = 1.25
#: What is lost by chance is spread about its mean; so many deviations of it still count as chance. With
#: four, whoever was first on a path held it against those who had to find out yet.
DEVIATIONS = 3


class _Rounds:
    """Bytes lost and delivered in some round trips."""

    def __init__(self) -> None:
        self.lost = self.acked = self.rounds = 0
        #: What was delivered, answered or not, in so much time.
        self.arrived = 0
        self.elapsed: Duration = 0

    def add(self, lost: int, acked: int, *, arrived: int, elapsed: Duration) -> None:
        self.lost += lost
        self.acked += acked
        self.arrived += arrived
        self.elapsed += elapsed
        self.rounds += 1

    def join(self, other: _Rounds) -> None:
        self.lost += other.lost
        self.acked += other.acked
        self.arrived += other.arrived
        self.elapsed += other.elapsed

    def rate(self) -> float:
        """Return what arrived in a nanosecond, bytes."""
        return self.arrived / max(1, self.elapsed)

    def ratio(self, least: int) -> float | None:
        """Return the share lost; None: less than ``least`` bytes were sent."""
        total = self.lost + self.acked
        return None if total < least else self.lost / total

    def at_most(self, packet_size: int) -> float:
        """Return the largest share that what was lost lets one believe in."""
        lost, total = self.lost, max(1, self.lost + self.acked)
        return max(TRUSTED * lost, lost + TRUSTED_DEVIATIONS * sqrt(lost * packet_size)) / total

    def at_least(self, packet_size: int) -> float:
        """Return the share less a deviation: what a few packets lost more than usual is no proof of."""
        return (self.lost - sqrt(self.lost * packet_size)) / max(1, self.lost + self.acked)

    def forget(self, most: int) -> None:
        """Forget a half of it while it is of more than ``most`` bytes: what was long ago counts less."""
        while self.lost + self.acked > most:
            self.lost //= 2
            self.acked //= 2
            self.arrived //= 2
            self.elapsed //= 2


class RandomLoss:
    """The share of packets that the path loses by chance.

    Args:
        max_datagram_size: bytes of a full packet.
    """

    def __init__(self, max_datagram_size: int) -> None:
        #: The share, from 0 to ``MAX_RATIO``.
        self.ratio = 0.0
        #: Bytes of a full packet.
        self.packet_size = max_datagram_size
        self._trusted = 0.0
        self._cycles_left = 0
        self._fast, self._slow = _Rounds(), _Rounds()
        self._lost = self._acked = self._arrived = 0
        self._began: Instant = 0
        self._least_rtt: Duration = 1 << 62
        #: The most of the last rounds' least round trips, forgotten slowly.
        self._most_rtt: Duration = 0

    def allowance(self, sent: int) -> int:
        """Return how many of ``sent`` bytes chance may have lost, bytes.

        Packets lost by chance are spread about their mean with its square root.
        """
        mean = self.ratio * sent
        return int(mean + DEVIATIONS * sqrt(mean * self.packet_size)) if mean else 0

    def note_lost(self, lost: int) -> None:
        """Count lost bytes."""
        self._lost += lost

    def take(self, *, acked: int, rtt: Duration, answered: bool = False) -> None:
        """Count what one acknowledgement tells.

        Args:
            answered: losses of what was sent with it have been answered, and are not noted here: neither
                then does its arrival say what the path loses, but it says how fast packets come through.
        """
        self._arrived += acked
        if not answered:
            self._acked += acked
        self._least_rtt = min(self._least_rtt, rtt)

    def end_round(
        self, *, bandwidth: int, max_bandwidth: int, min_rtt: Duration, counts: bool, now: Instant
    ) -> bool:
        """End a round trip; return whether what was lost of late is newly found to be chance.

        Args:
            bandwidth: what was sent at, bytes/s.
            counts: whether the round trip was neither spent on probing nor limited by the application.
        """
        self._most_rtt = max(self._most_rtt, self._least_rtt)
        margin = max(min_rtt // QUIET_MARGIN, (self._most_rtt - min_rtt) // 2)
        if counts and self._least_rtt <= min_rtt + margin:
            kind = self._slow if bandwidth <= SLOWED * max_bandwidth else self._fast
            kind.add(self._lost, self._acked, arrived=self._arrived, elapsed=now - self._began)
            self._follow()
        self._lost = self._acked = self._arrived = 0
        self._began = now
        self._least_rtt = 1 << 62
        before, after = (
            self._fast.ratio(MIN_FAST_PACKETS * self.packet_size),
            self._slow.ratio(MIN_SLOW_PACKETS * self.packet_size),
        )
        if before is None or after is None or self._slow.rounds < MIN_SLOW_ROUNDS:
            return False
        less_arrived = self._slow.rate() <= ARRIVES * self._fast.rate()
        before = self._fast.at_least(self.packet_size)
        self._fast.join(self._slow)
        self._slow = _Rounds()
        if not less_arrived:
            return False
        if not max(UNCHANGED * before, MIN_RATIO) <= after <= MAX_RATIO:
            return False
        before, self.ratio = self.ratio, self._fast.ratio(0) or 0.0
        self._trusted = self._fast.at_most(self.packet_size)
        self._cycles_left = PROOF_CYCLES
        return self.ratio > MORE * before

    def end_cycle(self, min_rtt: Duration) -> None:
        """A cycle of probing is over."""
        self._cycles_left -= 1
        if self._cycles_left <= 0:
            self.ratio = 0.0
        self._follow()
        self._fast.forget(MAX_PACKETS * self.packet_size)
        self._slow = _Rounds()
        self._most_rtt -= max(0, self._most_rtt - min_rtt) // QUIET_MARGIN

    def _follow(self) -> None:
        """Once there is a proof, the share is what the path loses, as far as that was proved."""
        share = self._fast.ratio(MIN_FAST_PACKETS * self.packet_size)
        if self.ratio and share is not None:
            self.ratio = min(share, self._trusted)
