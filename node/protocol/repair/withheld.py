"""Lost data that is not sent again yet, or never: what FEC and ARQ owe each other (SPEC 12.5)."""

from __future__ import annotations

from collections import deque

from node.protocol.recovery.manager import Recovery
from node.protocol.recovery.sent_packets import SentBurst, runs
from node.protocol.repair.block import Block
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
        # In the order of their losses: the first is due first, or hardly later. What no repair is to come
        # for any more, and so is due now, stands apart.
        self._waiting: deque[tuple[SentBurst, int, Block]] = deque()
        self._given_up: list[tuple[SentBurst, int, Block]] = []

    def hold(self, record: SentBurst, mask: int) -> int:
        """Keep what of the lost packets may still be repaired; return those that are lost for good."""
        if self.mode == "always":
            return mask  # SPEC 12.5-1
        touched: list[Block] = []
        held = 0
        for low, high in runs(mask):
            for position in range(low, high):
                block = self._blocks.block_of(record.first + position)
                if block is None:
                    continue
                block.on_packet_lost(record.first + position)
                held |= 1 << position
                if block not in touched:
                    touched.append(block)
                    self._waiting.append((record, 0, block))
                self._waiting[-1] = (record, self._waiting[-1][1] | 1 << position, block)
        for block in touched:
            self._request(block)
        return mask & ~held

    def on_repairs_lost(self, first: int, indices: range) -> None:
        """Repair symbols of the block whose first packet is ``first`` were declared lost."""
        block = self._blocks.block_of(first)
        if block is not None:
            for index in indices:
                block.on_repair_lost(index)
            self._request(block)

    def on_recovered(self, start: int, end: int) -> list[tuple[SentBurst, int]]:
        """The peer has rebuilt the packets ``[start, end)``: return which of those kept these are."""
        found: list[tuple[SentBurst, int]] = []
        waiting: deque[tuple[SentBurst, int, Block]] = deque()
        for record, mask, block in self._waiting:
            recovered = mask & record.mask_of(start, end)
            if recovered:
                found.append((record, recovered))
            if mask & ~recovered:
                waiting.append((record, mask & ~recovered, block))
        self._waiting = waiting
        return found

    def due(self, now: Instant) -> list[tuple[SentBurst, int]]:
        """Return, and keep no longer, the packets for which no repair is to be expected any more."""
        due, self._given_up = self._given_up, []
        while self._waiting and self._deadline(*self._waiting[0]) <= now:
            due.append(self._waiting.popleft())
        return [(record, mask) for record, mask, _ in due]

    def next_timeout(self) -> Instant | None:
        """Return when ``due`` is to be asked."""
        if self._given_up:
            return self._given_up[0][0].time_sent  # at once
        return self._deadline(*self._waiting[0]) if self._waiting else None

    def _request(self, block: Block) -> None:
        """Send what repair a block lacks, or give up those of its packets that none can bring back."""
        if self.mode != "on-request":
            return
        more = block.more_needed(self._blocks.scheme)
        if more and self._blocks.fits(block):
            self._blocks.release(block, more)
        elif more != 0:
            self._given_up += [entry for entry in self._waiting if entry[2] is block]
            self._waiting = deque(entry for entry in self._waiting if entry[2] is not block)

    def _deadline(self, record: SentBurst, mask: int, block: Block) -> Instant:
        """When the report should have come (SPEC 12.5-2): counted from the repair, or, if that has not gone,
        as if it had a round trip after the packet, and what was asked for another one later."""
        rtt = self._recovery.rtt
        since = block.sent_at
        if since is None:
            since = record.time_sent + (1 + block.requests) * rtt.smoothed_rtt
        return since + self._patience

    @property
    def _patience(self) -> Duration:
        if self.mode == "never":
            # SPEC 12.5-3
            return NEVER_PROBE_TIMEOUTS * self._recovery.probe_timeout
        return self._recovery.rtt.probe_timeout(0)  # the report is not held back (SPEC 12.4-5)
