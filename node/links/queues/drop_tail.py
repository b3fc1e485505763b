"""Queues that drop at their tail: by bytes, and by packets with marks in time."""

from __future__ import annotations

from node.links.queues.base import Fifo, Queued, Tally
from node.protocol.time import Duration, Instant


class ByteQueue(Fifo):
    """Holds so many bytes of frames, the one in service counted in (kernel: bfifo)."""

    def __init__(self, limit_bytes: int, tally: Tally) -> None:
        super().__init__(tally)
        self._limit = limit_bytes

    def enqueue(self, queued: Queued, now: Instant) -> None:
        """Take a packet if it fits."""
        if self.occupied_bytes + queued.size > self._limit:
            self.drop(queued)
        else:
            self.append(queued, now)

    def dequeue(self, now: Instant) -> Queued | None:
        """Return the first packet."""
        return self.pop()


class PacketQueue(Fifo):
    """Holds so many packets, the one in service counted in (kernel: pfifo)."""

    def __init__(self, limit_packets: int, tally: Tally) -> None:
        super().__init__(tally)
        self._limit = limit_packets

    def enqueue(self, queued: Queued, now: Instant) -> None:
        """Take a packet if there is a place."""
        if self.occupied >= self._limit:
            self.drop(queued)
        else:
            self.append(queued, now)

    def dequeue(self, now: Instant) -> Queued | None:
        """Return the first packet."""
        return self.pop()


class MarkingQueue(PacketQueue):
    """Holds so many packets, and marks those that waited for longer than a threshold.

    In the kernel: CoDel with its ``ce_threshold``, and a target that is never reached.
    """

    def __init__(self, limit_packets: int, threshold: Duration, tally: Tally) -> None:
        super().__init__(limit_packets, tally)
        self._threshold = threshold

    def dequeue(self, now: Instant) -> Queued | None:
        """Return the first packet, marked if it waited for too long."""
        queued = self.pop()
        if queued is not None and now - queued.arrived > self._threshold:
            self.mark(queued)
        return queued
