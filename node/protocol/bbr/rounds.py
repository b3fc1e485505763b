"""Packet-timed round trips (draft-ietf-ccwg-bbr §5.5.1), and the limits met within them."""

from __future__ import annotations


class Rounds:
    """Counts round trips by what is delivered, not by the clock: idle times and timers do not fool it."""

    def __init__(self) -> None:
        #: Whether the acknowledgement at hand begins a round trip.
        self.started = False
        self.count = 0
        #: Round trips since ProbeBW_UP was last left.
        self.since_probe_up = 0
        self._next_delivered = 0
        self._limited_now = self._limited_before = False

    def update(self, *, prior_delivered: int, delivered: int) -> None:
        """Take an acknowledgement.

        Args:
            prior_delivered: bytes delivered when its newest packet was sent.
            delivered: bytes delivered now.
        """
        self.started = prior_delivered >= self._next_delivered
        if self.started:
            self.restart(delivered)
            self.count += 1
            self.since_probe_up += 1
            self._limited_before, self._limited_now = self._limited_now, False

    def restart(self, delivered: int) -> None:
        """Let the round trip begin now."""
        self._next_delivered = delivered

    def note_window_limited(self) -> None:
        """The window was used up."""
        self._limited_now = True

    @property
    def window_limited(self) -> bool:
        """Whether the window was used up in this round trip or the last (C.is_cwnd_limited, §2.1)."""
        return self._limited_now or self._limited_before
