"""How far a shaper is behind: what it does later than it should."""

from __future__ import annotations

from node.protocol.time import MICROSECOND, MILLISECOND, Duration

#: What timers, and a core that others use as well, cost is less than this.
LATE: Duration = 5 * MILLISECOND


class Lateness:
    """Notes how late the oldest frame was, whenever frames are fetched or let go.

    Late in fetching means that the shaper has more to do than its core can: rates come out too low.
    Late in letting go means that it was not scheduled in time: delays come out too long.
    """

    def __init__(self) -> None:
        self._looks = self._late = 0
        self._late_by: Duration = 0

    def note(self, behind: Duration) -> None:
        """Note by how much the oldest frame of this turn was late; below zero: not at all."""
        self._looks += 1
        if behind > LATE:
            self._late += 1
            self._late_by += behind

    def counters(self) -> dict[str, int]:
        """Return how often was looked, how often a frame was over 5 ms late, and how many µs that makes.

        They only grow: what a run saw is the difference between its end and its begin.
        """
        return {"looks": self._looks, "late": self._late, "late_us": self._late_by // MICROSECOND}
