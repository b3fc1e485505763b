"""The largest datagram that a path carries (DPLPMTUD: RFC 8899, SPEC 13.4).

    BASE ──something arrived──► SEARCHING ──nothing left to try──► COMPLETE
      ▲                             ▲                                 │
      │                             └────────── ten minutes ──────────┤
      └────── larger packets vanish, smaller ones arrive ─────────────┘

A probe is PING and PADDING in a packet of the size in question. It is no part of what loss recovery and
congestion control know (SPEC 13.4-3): its loss says that the size does not fit. The set-up packets, which are
padded to 1200 bytes, have proven the base. ICMP is not read, so none that is forged can lower the size.
"""

from __future__ import annotations

from enum import Enum

from node.protocol.configuration import MIN_DATAGRAM_SIZE
from node.protocol.time import SECOND, Duration, Instant

#: RFC 8899 §5.1.2: so many probes of one size must be lost before it counts as too large.
MAX_PROBES = 3
#: RFC 8899 §5.1.1: how long a size that was found holds before larger ones are tried again.
RAISE_INTERVAL: Duration = 600 * SECOND
#: RFC 9002 §6.1.1: an unacknowledged probe is lost when packets so much later are acknowledged.
PACKET_THRESHOLD = 3
#: Detections in a row in which large packets were lost while none arrived that make a path count as smaller.
SUSPICIOUS_LOSSES = 3
#: Probe time-outs in a row that mean the same: where all large packets vanish, no later one is acknowledged.
SUSPICIOUS_TIMEOUTS = 2
#: UDP payloads that are tried between base and ceiling. The MTUs of common links less the headers of IPv4 and
#: IPv6 (1280, 1500 and 9000 bytes, with and without tunnels), and between them steps that lose little.
RUNGS = (
    *(1232, 1272, 1312, 1352, 1392, 1412, 1432, 1452, 1472),
    *(2048, 3000, 4052, 6000, 8152, 8952, 8972, 16_336, 32_704),
)


class PmtuState(Enum):
    """What is known of the size."""

    #: Only the base is safe, and whether even that arrives is to be seen.
    BASE = "base"
    #: Larger sizes are being tried.
    SEARCHING = "searching"
    #: The largest that fits is in use.
    COMPLETE = "complete"


class PathMtu:
    """Finds the largest size, and notices when it fits no more.

    Args:
        initial: bytes of UDP payload to begin with.
        ceiling: what both ends accept at most.
    """

    def __init__(self, *, initial: int, ceiling: int) -> None:
        #: Bytes of a full packet now.
        self.current = min(initial, ceiling)
        self.state = PmtuState.SEARCHING
        #: Whether an acknowledgement of what was sent on this path would be news (``on_acked``).
        self.in_doubt = False
        #: Packet number of the probe that is out.
        self.probe_number: int | None = None
        #: When the probe counts as lost, or when to try larger sizes again.
        self.deadline: Instant | None = None
        self._sizes = [*(rung for rung in RUNGS if MIN_DATAGRAM_SIZE < rung < ceiling), ceiling]
        self._trying = self._too_large = ceiling
        self._tries = self._suspicions = 0
        self._suspected_at: Instant = 0
        self._search()

    # -- probing

    @property
    def probe_size(self) -> int | None:
        """Size of the probe to send now; None: none."""
        if self.state is not PmtuState.SEARCHING or self.probe_number is not None:
            return None
        return self._trying

    def on_probe_sent(self, number: int, *, now: Instant, patience: Duration) -> None:
        """Note the probe; it counts as lost after ``patience`` at the latest."""
        self.probe_number = number
        self.deadline = now + patience

    def on_ack(self, ranges: tuple[tuple[int, int], ...], *, now: Instant) -> bool:
        """Look for the probe in an acknowledgement; True: ``current`` has grown. Only while one is out."""
        number = self.probe_number
        assert number is not None
        if any(start <= number < end for start, end in ranges):
            self.current = self._trying
            self._settle(now)
            return True
        if ranges[0][1] - 1 >= number + PACKET_THRESHOLD:
            self._on_probe_lost(now)
        return False

    def handle_timeout(self, *, now: Instant) -> None:
        """The time that ``deadline`` gave has come."""
        if self.probe_number is not None:
            self._on_probe_lost(now)
        elif self.state is PmtuState.COMPLETE:
            self._search()

    def _on_probe_lost(self, now: Instant) -> None:
        self.probe_number = self.deadline = None
        self._tries += 1
        if self._tries >= MAX_PROBES:
            self._too_large = self._trying
            self._settle(now)

    def _search(self) -> None:
        """Try the ceiling first: it is what nearly every path carries (SPEC 13.4-2)."""
        self.state = PmtuState.SEARCHING
        self._too_large = self._sizes[-1] + 1
        self._trying = self._sizes[-1]
        self._tries = 0
        self.probe_number = self.deadline = None
        if self.current >= self._sizes[-1]:
            self.state = PmtuState.COMPLETE

    def _settle(self, now: Instant) -> None:
        """Go on to the middle of the sizes that are left."""
        self.probe_number = self.deadline = None
        self._tries = 0
        left = [size for size in self._sizes if self.current < size < self._too_large]
        if left:
            self._trying = left[len(left) // 2]
            return
        self.state = PmtuState.COMPLETE
        if self.current < self._sizes[-1]:
            self.deadline = now + RAISE_INTERVAL

    # -- black holes

    def on_acked(self, size: int) -> None:
        """Packets of this size have arrived."""
        if self.state is PmtuState.BASE:
            self._search()
        if size > MIN_DATAGRAM_SIZE:
            self._suspicions = 0
        self.in_doubt = self.state is PmtuState.BASE or self._suspicions > 0

    def on_large_lost(self, *, time_sent: Instant, now: Instant) -> bool:
        """Packets larger than the base are lost; True: the path counts as smaller, ``current`` has fallen."""
        # What went out before the last suspicion says nothing new.
        if self.current <= MIN_DATAGRAM_SIZE or time_sent < self._suspected_at:
            return False
        self._suspected_at = now
        self._suspicions += 1
        self.in_doubt = True
        return self._suspicions >= SUSPICIOUS_LOSSES and self._fall_back()

    def on_probe_timeouts(self, count: int) -> bool:  # SPEC 13.4-4
        """So many probe time-outs in a row; True: ``current`` has fallen."""
        return count >= SUSPICIOUS_TIMEOUTS and self.current > MIN_DATAGRAM_SIZE and self._fall_back()

    def _fall_back(self) -> bool:
        self.current = MIN_DATAGRAM_SIZE
        self.state = PmtuState.BASE
        self.in_doubt = True
        self.probe_number = self.deadline = None
        self._suspicions = 0
        return True
