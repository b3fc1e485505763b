"""Is the pipe full? A plateau of the delivery rate says so (draft-ietf-ccwg-bbr §5.3.1.2)."""

from __future__ import annotations

from node.protocol.bbr.constants import FULL_BANDWIDTH_GROWTH, FULL_BANDWIDTH_ROUNDS


class FullPipe:
    """BBR.full_bw and what belongs to it."""

    def __init__(self) -> None:
        #: Whether the pipe was ever full: the search of Startup is over.
        self.reached = False
        #: Whether it has been found full since looking for it last began.
        self.now = False
        #: Round trips without growth.
        self.count = 0
        #: The rate that counts as not grown, bytes/s.
        self.baseline = 0

    def reset(self, baseline: int = 0) -> None:
        """Begin to look for it anew."""
        self.baseline = baseline
        self.count = 0
        self.now = False

    def update(self, delivery_rate: int, *, round_started: bool, app_limited: bool) -> None:
        """Take the delivery rate of an acknowledgement."""
        if self.now or not round_started or app_limited:
            return
        if delivery_rate >= self.baseline * FULL_BANDWIDTH_GROWTH:
            self.reset(delivery_rate)
            return
        self.count += 1
        if self.count >= FULL_BANDWIDTH_ROUNDS:
            self.fill()

    def fill(self) -> None:
        """The pipe is full."""
        self.now = self.reached = True
