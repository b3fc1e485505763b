"""PIE (RFC 8033): a controller moves the chance of a drop, by how long packets wait and how that changes."""

from __future__ import annotations

from random import Random

from node.links.queues.base import FULL_FRAME, Fifo, Queued, Tally
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant

# RFC 8033 §4.2, §4.4, §5.1 and §5.2; seconds where a gain takes them.
TARGET: Duration = 15 * MILLISECOND
UPDATE: Duration = 15 * MILLISECOND
MAX_BURST: Duration = 150 * MILLISECOND
ALPHA, BETA = 0.125, 1.25
#: §5.1: above this chance packets are dropped even if they could be marked.
MARK_LIMIT = 0.1
#: §5.3: the waiting time above which the chance grows faster.
_LONG_DELAY: Duration = 250 * MILLISECOND
#: §5.4: a drop comes neither much before nor much after its turn.
_EARLIEST, _LATEST = 0.85, 8.5
#: §4.2: below each chance the gains are smaller.
_TUNING = (
    (0.000001, 1 / 2048),
    (0.00001, 1 / 512),
    (0.0001, 1 / 128),
    (0.001, 1 / 32),
    (0.01, 1 / 8),
    (0.1, 1 / 2),
)


class Pie(Fifo):
    """A queue of at most ``limit`` packets under PIE, waiting times measured by timestamps (§5.2).

    Args:
        ecn: whether it marks instead of dropping while drops are rare.
    """

    def __init__(self, limit: int, tally: Tally, rng: Random, *, ecn: bool) -> None:
        super().__init__(tally)
        self._limit = limit
        self._rng = rng
        self._ecn = ecn
        self._chance = 0.0
        self._accumulated = 0.0
        self._delay: Duration = 0
        self._delay_before: Duration = 0
        self._burst: Duration = MAX_BURST
        self._update_at: Instant | None = None

    def enqueue(self, queued: Queued, now: Instant) -> None:
        """Take, mark or drop a packet (§4.1)."""
        self._update_until(now)
        full = self.occupied >= self._limit
        may_mark = self._ecn and self._chance <= MARK_LIMIT
        if full or (self._early() and not (may_mark and self.mark(queued))):
            self.drop(queued)
        else:
            self.append(queued, now)

    def dequeue(self, now: Instant) -> Queued | None:
        """Return the first packet, and note how long it waited."""
        self._update_until(now)
        queued = self.pop()
        self._delay = 0 if queued is None or not self.packets else now - queued.arrived
        return queued

    def _early(self) -> bool:
        if self._burst > 0 or (self._delay_before < TARGET // 2 and self._chance < 0.2):
            return False
        if self.occupied_bytes <= 2 * FULL_FRAME:
            return False
        self._accumulated = self._accumulated + self._chance if self._chance else 0.0
        if self._accumulated < _EARLIEST:
            return False
        if self._accumulated < _LATEST and self._rng.random() >= self._chance:
            return False
        self._accumulated = 0.0
        return True

    def _update_until(self, now: Instant) -> None:
        # Nothing changes between two packets but by these updates, so they can be made late.
        if self._update_at is None:
            self._update_at = now + UPDATE
        for _ in range(_MOST_UPDATES):
            if self._update_at > now:
                return
            self._update_at += UPDATE
            self._update()
        # Nothing moves any more after so long a silence.
        self._update_at = now + UPDATE

    def _update(self) -> None:
        gain = next((factor for below, factor in _TUNING if self._chance < below), 1.0)
        late, more = self._delay - TARGET, self._delay - self._delay_before
        change = gain * (ALPHA * late + BETA * more) / SECOND
        if self._chance >= 0.1:
            change = min(change, 0.02)
        if self._delay > _LONG_DELAY:
            change += 0.02
        self._chance = min(1.0, max(0.0, self._chance + change))
        if self._delay == 0 and self._delay_before == 0:
            self._chance *= 0.98
        calm = self._delay < TARGET // 2 and self._delay_before < TARGET // 2
        self._delay_before = self._delay
        if calm and self._chance == 0:
            self._burst = MAX_BURST
        else:
            self._burst = max(0, self._burst - UPDATE)


#: Updates without a packet after which the chance has long been zero.
_MOST_UPDATES = 1_000
