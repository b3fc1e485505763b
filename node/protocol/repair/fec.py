"""Forward error correction of one connection: both directions, and how it works with ARQ.

Repair brings data early and hides nothing: what is rebuilt stays lost for recovery and congestion control
(SPEC 12-1), which know of FEC only that its packets are sent like others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.protocol.acknowledged import deliver, repeat_lost
from node.protocol.arena import HEADER_BYTES, Arena
from node.protocol.configuration import FEC_CODES
from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.fec.base import FEC_SCHEMES
from node.protocol.recovery.sent_packets import SentBurst, runs
from node.protocol.repair.blocks import BlockWriter
from node.protocol.repair.rebuilder import Rebuilder
from node.protocol.repair.retained import Retained
from node.protocol.repair.symbols import SymbolLayout
from node.protocol.repair.withheld import Withheld
from node.protocol.time import Instant
from node.protocol.timers import earliest
from node.protocol.trace import FecRepairSent
from node.protocol.wire.fec_frames import FecRecovered, FecRepair

if TYPE_CHECKING:
    from node.protocol.connection import Connection

#: Loss to be ready for where nothing but repair brings lost data back: one packet in fifty.
NEVER_LEAST_LOSS = 0.02


class Fec:
    """What a connection whose handshake agreed on FEC has besides.

    Args:
        name: the scheme.
        mode: when lost data is sent again: ``always``, ``on-request`` or ``never``.
    """

    def __init__(self, connection: Connection, name: str, mode: str) -> None:
        c = self._connection = connection
        self.never_repeats = mode == "never"
        self._code = FEC_CODES[name]
        scheme, layout = FEC_SCHEMES[name](), SymbolLayout(checked=not c.is_authenticated)
        overhead = c.configuration.fec_overhead_percent / 100
        least = NEVER_LEAST_LOSS if self.never_repeats else 0.0
        self.writer = BlockWriter(
            scheme, layout, c.recovery, overhead=overhead, least_loss=least,
            is_hurried=(lambda: c.messages.is_sending) if mode == "on-request" else None,
        )  # fmt: skip
        self.retained = Retained(tag_size=c.protection.tag_size)
        self.rebuilder = Rebuilder(
            scheme, self._code, layout, c.acks, retained=self.retained, take=c.receiver.take_rebuilt
        )
        #: Packets of ours that the peer rebuilt.
        self.packets_recovered = 0
        self._withheld = Withheld(mode, self.writer, c.recovery)

    # -- what became of packets

    def on_acked(self, record: SentBurst, mask: int) -> None:
        """Learn from an acknowledgement how the path is."""
        following = self._connection.recovery.next_packet_number
        self.writer.meter.on_acked(record.first, mask.bit_count(), next_packet_number=following)

    def on_lost(self, record: SentBurst, mask: int) -> int:
        """Learn of lost packets; return those of them whose content is to be sent again now."""
        for low, high in runs(mask):
            self.writer.meter.on_lost(record.first + low, record.first + high)
            repair = record.frames[0] if record.frames else None
            if isinstance(repair, FecRepair):
                indices = range(repair.index + low, repair.index + high)
                self._withheld.on_repairs_lost(repair.ranges[0][0], indices)
        return self._withheld.hold(record, mask & ~record.recovered)

    def on_repair(self, frame: FecRepair) -> None:
        """Take a repair symbol (RemoteProtocolError: it is none)."""
        self.rebuilder.on_repair(frame)

    def on_recovered(self, frame: FecRecovered) -> None:
        """The peer has rebuilt packets: their content arrived, though they did not (SPEC 12.4-5).

        Raises:
            RemoteProtocolError: one of them was never sent.
        """
        c = self._connection
        if frame.ranges[0][1] > c.recovery.next_packet_number:
            raise RemoteProtocolError(ErrorCode.PROTOCOL_VIOLATION, "FEC_RECOVERED of a packet never sent")
        for start, end in frame.ranges:
            found = [
                (r, r.outstanding & r.mask_of(start, end)) for r in c.recovery.sent.overlapping(start, end)
            ]
            for record, mask in found + self._withheld.on_recovered(start, end):
                fresh = mask & ~record.recovered
                if fresh:
                    record.recovered |= fresh
                    self.packets_recovered += fresh.bit_count()
                    deliver(c, [(record, fresh)])
                    if c.observer is not None:
                        c.observer.recovered(record, fresh)

    # -- time

    def handle_timeout(self, *, now: Instant) -> None:
        """Close a block that is old enough; send again, or give up, what no repair has brought back."""
        if self.writer.flush_at is not None and self.writer.flush_at <= now:
            self.writer.flush()
        for record, mask in self._withheld.due(now):
            repeat_lost(self._connection, record, mask)

    def next_timeout(self) -> Instant | None:
        """Return when ``handle_timeout`` is to be called."""
        return earliest(self.writer.flush_at, self._withheld.next_timeout())

    # -- what to send

    def build_repairs(
        self, arena: Arena, prefix: bytes, *, most: int, now: Instant
    ) -> tuple[SentBurst, memoryview]:
        """Build the next packets of repair, at most so many, of the oldest block that waits.

        Args:
            prefix: type and connection ID.
        """
        c, block = self._connection, self.writer.pending[0]
        assert block.symbols is not None
        frame = FecRepair(self._code, tuple(block.ranges), len(block.symbols), block.sent, b"")
        head = frame.head()
        tag_size = c.protection.tag_size
        size = HEADER_BYTES + len(head) + 1 + block.width + tag_size
        slots = arena.slots(size, tag_size)[: min(most, block.released - block.sent)]
        first = c.recovery.next_packet_number
        for index, slot in enumerate(slots):
            slot.header[:] = prefix + (first + index & 0xFFFF_FFFF).to_bytes(4, "big")
            symbol = block.symbols[block.sent + index]
            slot.payload[:] = head + bytes((block.sent + index,)) + symbol.tobytes()
        c.protection.seal(slots, first)
        record = SentBurst(first, len(slots), now, size=size, last_size=size)
        record.frames = (frame,)  # for observers: the first one stands for all
        if c.observer is not None:
            repairs = (block.sent, block.sent + len(slots))
            sent = FecRepairSent(tuple(block.ranges), repairs, len(block.symbols), len(block.symbols[0]))
            c.observer.emit(now, sent)
        self.writer.on_repairs_sent(len(slots), now=now)
        return record, arena.view[: len(slots) * size]
