"""The sender's blocks: which packets are protected together, and when their repair goes out (SPEC 12.3)."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable

import numpy as np

from node.protocol.arena import HEADER_BYTES, Arena, Slot
from node.protocol.fec.base import FecScheme, Rows, Shape
from node.protocol.recovery.manager import Recovery
from node.protocol.repair.block import REPAIR_HEAD_BYTES, Block
from node.protocol.repair.loss_meter import LossMeter
from node.protocol.repair.retained import MAX_RETAINED_BYTES
from node.protocol.repair.symbols import SymbolLayout, arena_rows
from node.protocol.time import MILLISECOND, Duration, Instant
from node.protocol.wire.fec_frames import MAX_BLOCK_PACKETS

#: SPEC 12.1-2: bytes that a block's source symbols take together; a receiver keeps several times that.
MAX_BLOCK_BYTES = 512 * 1024
#: An unfinished block waits for further packets at least so long.
MIN_PATIENCE: Duration = 2 * MILLISECOND
#: Windows up to here let a peer keep a block's packets until repair that was asked for has come, two round
#: trips after them (SPEC 12.4-1).
MAX_SPARING_WINDOW = MAX_RETAINED_BYTES // 2
#: Blocks remembered for the question whether repair of a lost packet is on its way.
MAX_SENT_BLOCKS = 256


class BlockWriter:
    """Groups protected packets into blocks and says what repair is to be sent.

    Args:
        overhead: repair packets for each protected packet at the most.
        least_loss: share of loss to be ready for whatever was measured.
        is_hurried: whether what is sent now would lose by a round trip's delay, whatever repair costs;
            None: it always would.
    """

    def __init__(
        self, scheme: FecScheme, layout: SymbolLayout, recovery: Recovery, *, overhead: float,
        least_loss: float, is_hurried: Callable[[], bool] | None = None,
    ) -> None:  # fmt: skip
        self.layout = layout
        self.meter = LossMeter(least_loss)
        #: Closed blocks with repair symbols that may go and have not; what was asked for is first.
        self.pending: deque[Block] = deque()
        self.protected_packets = self.repairs_sent = 0
        self.scheme, self._recovery, self._overhead = scheme, recovery, overhead
        self._is_hurried = is_hurried
        self._block: Block | None = None
        self._capacity = 0
        # Repair symbols that the packets so far have earned and no block has used (SPEC 12.3-2). The first
        # packets of a connection, about whose path nothing is known, have one as well.
        self._earned = 1.0
        # Repair symbols that losses as they were measured call for, and that have not been sent.
        self._called_for = 0.0
        # Packets that came lately in the time a block may be open; counted since when, and from where on.
        self._in_time = MAX_BLOCK_PACKETS
        self._counted: tuple[Instant, int] = (0, 0)
        self._firsts: list[int] = []
        self._sent: list[Block] = []

    def set_packet_size(self, size: int, *, tag_size: int) -> int:
        """Set the bytes of a full packet; return those of one that is to be protected (SPEC 12.1-6)."""
        self.flush()
        self._capacity = size - HEADER_BYTES - tag_size - REPAIR_HEAD_BYTES
        # Where the path has become smaller, repair of larger packets fits no more, as they themselves do not.
        self.pending = deque(block for block in self.pending if block.width <= self._capacity)
        return size - REPAIR_HEAD_BYTES - self.layout.prefix

    # -- what is sent

    def add_burst(self, first: int, slots: list[Slot], arena: Arena, *, tag_size: int, now: Instant) -> None:
        """Protect a bulk burst whose packets lie in clear in their slots; only the last may be shorter."""
        size, last = len(slots[0].packet), slots[-1]
        whole = len(slots) - (len(last.packet) != size)
        rows = arena_rows(
            np.frombuffer(arena.buffer, dtype=np.uint8),
            position=slots[0].position, count=whole, size=size, tag_size=tag_size, prefix=self.layout.prefix,
        )  # fmt: skip
        heads = rows[:, : self.layout.prefix].copy()
        self.layout.write_heads(rows, first)
        self._add(first, rows, now)
        rows[:, : self.layout.prefix] = heads  # what was the end of the packets' headers
        if whole < len(slots):
            self.add(first + whole, bytes(last.payload), now=now)

    def add(self, number: int, payload: bytes, *, now: Instant) -> None:
        """Protect one packet."""
        self._add(number, self.layout.symbol(number, payload), now)

    def on_idle(self) -> bool:
        """There is nothing more to send for now, so earned repair goes at once; return whether any is."""
        if self._block is not None:
            self._block.idle = True
            if self._earned >= 1:
                self.flush()
        return bool(self.pending)

    def flush(self) -> None:
        """Close the open block; its repair goes out, as far as it is earned."""
        block, self._block = self._block, None
        if block is None:
            return
        count = min(int(self._earned + 1e-6), block.shape.repairs)
        if not count:
            return
        called_for = self._call_for(block, count)
        if not self.scheme.incremental:
            count = called_for
            if not count:
                return
        block.symbols = block.encoder.repairs(count)[:, : block.width]
        block.released = min(called_for, len(block.symbols))
        self._earned = min(self._earned - len(block.symbols), block.shape.repairs)
        if block.released:
            self.pending.append(block)
        self._sent.append(block)
        self._firsts.append(block.first)
        if len(self._sent) > 2 * MAX_SENT_BLOCKS:
            del self._sent[:MAX_SENT_BLOCKS], self._firsts[:MAX_SENT_BLOCKS]

    def on_repairs_sent(self, count: int, *, now: Instant) -> None:
        """Note that the next symbols of the oldest pending block have gone."""
        block = self.pending[0]
        assert block.symbols is not None
        block.sent += count
        self.repairs_sent += count
        if block.sent == block.released:
            block.sent_at = now
            self.pending.popleft()

    def release(self, block: Block, count: int) -> None:
        """Let so many more symbols of a block go, before all others."""
        assert block.symbols is not None
        block.released += count
        block.requests += 1
        block.sent_at = None
        if block not in self.pending:
            self.pending.appendleft(block)

    def fits(self, block: Block) -> bool:
        """Whether a packet still has room for a repair symbol of the block."""
        return block.width <= self._capacity

    # -- when, and what is on its way

    @property
    def flush_at(self) -> Instant | None:
        """When ``flush`` is to be called at the latest."""
        if self._block is None:
            return None
        return self._block.flush_at if self._earned >= 1 else self._block.drop_at

    @property
    def overhead(self) -> float:
        """Repair packets for each protected one so far."""
        return self.repairs_sent / max(1, self.protected_packets)

    def block_of(self, number: int) -> Block | None:
        """Return the block with repair that protects a packet, closing it if it is open; None: none does."""
        if self._block is not None and self._block.first <= number < self._block.end:
            self.flush()
        index = bisect_right(self._firsts, number) - 1
        if index < 0 or not any(start <= number < end for start, end in self._sent[index].ranges):
            return None
        return self._sent[index]

    # -- helpers

    def _add(self, first: int, symbols: Rows, now: Instant) -> None:
        self.protected_packets += len(symbols)
        while len(symbols):
            if self._block is not None and not self._block.takes(first):
                self.flush()
            block = self._block = self._block or self._begin(first, now)
            most = min(block.shape.packets, MAX_BLOCK_BYTES // self._capacity)
            count = min(len(symbols), most - block.packets)
            block.add(first, symbols[:count])
            self._earned += count * block.shape.repairs / block.shape.packets
            if block.packets == most or (now >= block.flush_at and self._earned >= 1):
                self.flush()
            first, symbols = first + count, symbols[count:]

    def _call_for(self, block: Block, most: int) -> int:
        """Return how many of a block's repair symbols go before anything is known to be lost (SPEC 12.3-5).

        All of them, where data must not wait. Where it is the window or pacing that data waits for anyway,
        as many as the path is going to lose: any repair beyond that takes the place of data.
        """
        share = self.meter.loss / max(1e-9, 1 - self.meter.loss)
        self._called_for = min(self._called_for + block.packets * share, block.shape.repairs)
        sparing = (
            self._is_hurried is not None
            and not block.idle
            and self.meter.noticeable
            and self._recovery.congestion.congestion_window <= MAX_SPARING_WINDOW
            and not self._is_hurried()
        )
        count = min(most, int(self._called_for)) if sparing else most
        self._called_for = max(0.0, self._called_for - count)
        return count

    def _begin(self, first: int, now: Instant) -> Block:
        # Half a round trip: after a whole one, repair comes no earlier than what is sent again.
        patience = max(MIN_PATIENCE, self._recovery.rtt.smoothed_rtt // 2)
        self._measure_rate(patience, now)
        if self.meter.noticeable:
            half = self._recovery.congestion.congestion_window // (2 * self._capacity)
            shape = self.scheme.shape(
                loss=self.meter.loss,
                burst=self.meter.burst,
                packets=max(1, min(half, self._in_time)),
                overhead=self._overhead,
            )
        else:
            shape = Shape(MAX_BLOCK_PACKETS, 1)  # SPEC 12.3-3
        encoder = self.scheme.encoder(shape.repairs, self._capacity)
        return Block(first, shape, encoder, flush_at=now + patience, drop_at=now + 2 * patience)

    def _measure_rate(self, patience: Duration, now: Instant) -> None:
        """Note how many packets come while a block may be open: a sparse flow fills only small ones."""
        since, before = self._counted
        if now - since >= patience:
            self._in_time = (self.protected_packets - before) * patience // (now - since)
            self._counted = now, self.protected_packets
