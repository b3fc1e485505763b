"""Lost data that is not sent again yet, or never: what FEC and ARQ owe each other (SPEC 12.5)."""

from __future__ import annotations

from collections import deque

from node.protocol.recovery.manager import Recovery
from node.protocol.recovery.sent_packets import SentBurst, runs
from node.protocol.repair.blocks import BlockWriter
from node.protocol.time import Duration, Instant

#: Probe time-outs after the last repair until data that is not sent again counts as gone: nobody waits for
#: it, so there is time for reports that were lost to be repeated.
NEVER_PROBE_TIMEOUTS = 3


class Withheld:
    """Lost packets whose repair is on its way.

    Args:
        mode: ``always``, ``on-request`` or ``never``.
    """

    def __init__(self, mode: str, blocks: BlockWriter, recovery: Recovery) -> None:
        self.mode = mode
        self._blocks, self._recovery = blocks, recovery
        # In the order of their losses: the first is due first, or hardly later.
        self._waiting: deque[tuple[SentBurst, int]] = deque()

    def hold(self, record: SentBurst, mask: int) -> int:
        """Keep what of the lost packets may still be repaired; return those that are lost for good."""
        if self.mode == "always":
            return mask  # SPEC 12.5-1
        held = 0
        for low, high in runs(mask):
            for position in range(low, high):
                if self._blocks.block_of(record.first + position) is not None:
                    held |= 1 << position
        if held:
            self._waiting.append((record, held))
        return mask & ~held

    def on_recovered(self, start: int, end: int) -> list[tuple[SentBurst, int]]:
        """The peer has rebuilt the packets ``[start, end)``: return which of those kept these are."""
        found: list[tuple[SentBurst, int]] = []
        waiting: deque[tuple[SentBurst, int]] = deque()
        for record, mask in self._waiting:
            recovered = mask & record.mask_of(start, end)
            if recovered:
                found.append((record, recovered))
            if mask & ~recovered:
                waiting.append((record, mask & ~recovered))
        self._waiting = waiting
        return found

    def due(self, now: Instant) -> list[tuple[SentBurst, int]]:
        """Return, and keep no longer, the packets for which no repair is to be expected any more."""
        due = []
        while self._waiting and self._deadline(*self._waiting[0]) <= now:
            due.append(self._waiting.popleft())
        return due

    def next_timeout(self) -> Instant | None:
        """Return when ``due`` is to be asked."""
        return self._deadline(*self._waiting[0]) if self._waiting else None

    def _deadline(self, record: SentBurst, mask: int) -> Instant:
        """When the report should have come (SPEC 12.5-2): counted from the repair, or, if that has not gone,
        as if it had a round trip after the packet."""
        rtt = self._recovery.rtt
        block = self._blocks.block_of(record.first + mask.bit_length() - 1)
        sent = None if block is None else block.sent_at
        since = record.time_sent + rtt.smoothed_rtt if sent is None else sent
        return since + self._patience

    @property
    def _patience(self) -> Duration:
        if self.mode == "never":
            # SPEC 12.5-3
            return NEVER_PROBE_TIMEOUTS * self._recovery.probe_timeout
        return self._recovery.rtt.probe_timeout(0)  # the report is not held back (SPEC 12.4-5)
