"""What to acknowledge, and when (RFC 9000 §13.2, SPEC 5-3, 4-2)."""

from __future__ import annotations

from collections import deque

from node.protocol.ecn import CE, ECT0, ECT1
from node.protocol.ranges import RangeSet
from node.protocol.time import MICROSECOND, Duration, Instant
from node.protocol.wire.frames import MAX_ACK_RANGES, Ack

#: Ranges kept to tell duplicates. What is older than the lowest of them counts as a duplicate.
MAX_KEPT_RANGES = 512
#: So many ack-eliciting packets are acknowledged at once (RFC 9000 §13.2.2).
ELICITING_THRESHOLD = 2
#: A range is reported this often before it may be left out: lost packets leave gaps for ever, and without an
#: end each acknowledgement of a lossy path would carry the 64 newest, at a tenth of both ends' time. Eight
#: acknowledgements in a row are lost once in 250 times where half of all packets are; what follows is not
#: wrong then, but sent once more.
REPORTS_OF_A_RANGE = 8


class Acknowledgements:
    """Packet numbers received, and the acknowledgement owed for them.

    Args:
        max_ack_delay: how long an acknowledgement may wait.
        at_once: acknowledge every ack-eliciting packet without delay.
    """

    def __init__(self, *, max_ack_delay: Duration, at_once: bool) -> None:
        self.received = RangeSet()
        self.largest = -1
        #: When the acknowledgement must go at the latest; None: none is owed.
        self.deadline: Instant | None = None
        #: Packets that came after one with a higher number, and by how many numbers at most.
        self.late = self.reordering = 0
        self._floor = 0
        #: The lowest number that came since the last acknowledgement, and those of the last ones.
        self._lowest_new: int | None = None
        self._lowest_reported: deque[int] = deque(maxlen=REPORTS_OF_A_RANGE)
        #: When the packet with the largest number came.
        self.newest_at: Instant = 0
        self._eliciting = 0
        self._urgent = False
        self._max_ack_delay = self._delay = max_ack_delay
        self._at_once = at_once
        self._frequency_sequence = -1
        self._threshold = 1 if at_once else ELICITING_THRESHOLD
        #: Packets received by codepoint of their IP header.
        self._by_codepoint = [0, 0, 0, 0]

    def is_duplicate(self, packet_number: int) -> bool:
        """Whether a packet number was received before, or is too old to tell (SPEC 4-2)."""
        if packet_number > self.largest:
            return False
        return packet_number < self._floor or packet_number in self.received

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the ranges of ``[start, end)`` that were not received, but for what is too old to tell."""
        return self.received.missing(max(start, self._floor), end)

    def on_received(self, start: int, end: int, eliciting: int, *, now: Instant, ecn: int = 0) -> None:
        """Note new packets ``[start, end)`` of one burst, ``eliciting`` of them ack-eliciting.

        Args:
            ecn: the codepoint that all of them came with.
        """
        self._by_codepoint[ecn] += end - start
        in_order = start == self.largest + 1
        if in_order and self.received.ends:
            self.received.ends[-1] = end
        else:
            self.received.add(start, end)
        if self._lowest_new is None or start < self._lowest_new:
            self._lowest_new = start
        if end - 1 > self.largest:
            self.largest = end - 1
            self.newest_at = now
        else:
            self.late += end - start
            self.reordering = max(self.reordering, self.largest - start)
        if len(self.received.starts) > MAX_KEPT_RANGES:
            self._floor = self.received.drop_lowest()[1]
        if not eliciting:
            return
        self._eliciting += eliciting
        # RFC 9000 §13.2.1, SPEC 8.2-1: congestion is told at once.
        if not in_order or self._urgent or self._eliciting >= self._threshold or ecn == CE:
            self.deadline = now
            self._urgent = False
        elif self.deadline is None:
            self.deadline = now + self._delay

    def set_frequency(self, sequence: int, *, packets: int, delay: Duration) -> None:
        """Acknowledge as often as the sender asks for (SPEC 5-6); never later than promised."""
        if sequence > self._frequency_sequence and not self._at_once:
            self._frequency_sequence = sequence
            self._threshold = max(1, packets)
            self._delay = min(delay, self._max_ack_delay)

    def hurry(self) -> None:
        """Acknowledge the packets at hand at once: the sender waits for nothing else."""
        self._urgent = True

    def frame(self, *, now: Instant) -> Ack | None:
        """Return the ACK frame for all that was received (SPEC 5-8), if any; nothing is owed then."""
        if not self.received.starts:
            return None
        self.deadline = None
        self._eliciting = 0
        if self._lowest_new is not None:
            self._lowest_reported.append(self._lowest_new)
            self._lowest_new = None
        counts = self._by_codepoint
        marked = (counts[ECT0], counts[ECT1], counts[CE])
        newest = self.received.newest(min(self._lowest_reported), MAX_ACK_RANGES)
        delay = (now - self.newest_at) // MICROSECOND
        return Ack(newest, delay, marked if marked != (0, 0, 0) else None)
