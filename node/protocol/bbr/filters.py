"""Windowed maxima (draft-ietf-ccwg-bbr §5.5.3, §5.5.5, §5.5.9)."""

from __future__ import annotations


class TwoCycleMaximum:
    """The largest value of this cycle and the one before: BBR.max_bw_filter (§5.5.6)."""

    def __init__(self) -> None:
        self.value = 0
        self._previous = self._current = 0

    def update(self, sample: int) -> None:
        """Take a sample."""
        if sample > self._current:
            self._current = sample
            if sample > self.value:
                self.value = sample

    def advance(self) -> None:
        """Begin the next cycle, unless this one saw no sample: one must always be left."""
        if self._current:
            self._previous, self._current = self._current, 0
            self.value = self._previous


class WindowedMaximum:
    """Kathleen Nichols' filter: the three best samples, each newer than the one before (Linux win_minmax).

    Exact when the maximum falls behind the window rarely, and three numbers in all.
    """

    def __init__(self) -> None:
        self._best: list[tuple[int, int]] = [(0, 0)] * 3  # (time, value), best first

    @property
    def value(self) -> int:
        """The maximum."""
        return self._best[0][1]

    def update(self, sample: int, *, time: int, window: int) -> int:
        """Take a sample and return the maximum of the last ``window`` units of time."""
        best = self._best
        newest = (time, sample)
        if sample >= best[0][1] or time - best[2][0] > window:
            self._best = [newest] * 3  # a new maximum, or nothing else is left in the window
            return sample
        if sample >= best[1][1]:
            best[1] = best[2] = newest
        elif sample >= best[2][1]:
            best[2] = newest
        return self._age(newest, window)

    def _age(self, newest: tuple[int, int], window: int) -> int:
        """Let go what is out of the window; see that the second and third are not of its first quarters."""
        best, time = self._best, newest[0]
        age = time - best[0][0]
        if age > window:
            best[0], best[1], best[2] = best[1], best[2], newest
            if time - best[0][0] > window:
                best[0], best[1], best[2] = best[1], best[2], newest
        elif best[1][0] == best[0][0] and 4 * age > window:
            best[1] = best[2] = newest
        elif best[2][0] == best[1][0] and 2 * age > window:
            best[2] = newest
        return best[0][1]
