"""FQ-CoDel (RFC 8290): a CoDel queue for each flow, served by deficit round robin, new flows first.

One difference from the kernel's: flows are told apart exactly, where the kernel hashes them into 1024 queues.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from node.links.queues.base import FULL_FRAME, Queued, Tally
from node.links.queues.codel import CodelState
from node.protocol.time import Instant

#: RFC 8290 §5.2.4; what Linux takes for an MTU of 1500.
QUANTUM = FULL_FRAME
#: How many packets of the fattest flow go at once when the queue is full (Linux: drop_batch).
_DROP_BATCH = 64


@dataclass(slots=True, eq=False)
class _Flow:
    waiting: deque[Queued] = field(default_factory=deque)
    size: int = 0
    deficit: int = 0
    #: Whether it stands in one of the lists.
    listed: bool = False
    codel: CodelState = field(default_factory=CodelState)


class FqCodel:
    """At most ``limit`` packets in all flows together.

    Args:
        ecn: whether it marks instead of dropping.
    """

    def __init__(self, limit: int, tally: Tally, *, ecn: bool) -> None:
        self.packets = self.size = self.in_service = 0
        self._limit = limit
        self._tally = tally
        self._ecn = ecn
        self._flows: dict[object, _Flow] = {}
        self._new: deque[_Flow] = deque()
        self._old: deque[_Flow] = deque()

    def enqueue(self, queued: Queued, now: Instant) -> None:
        """Take a packet; if that is one too many, drop from the head of the fattest flow (§4.1)."""
        queued.arrived = now
        flow = self._flows.setdefault(queued.flow, _Flow())
        flow.waiting.append(queued)
        flow.size += queued.size
        self.packets += 1
        self.size += queued.size
        if not flow.listed:
            flow.listed, flow.deficit = True, QUANTUM
            self._new.append(flow)
        if self.packets + (self.in_service > 0) > self._limit:
            self._drop_from_fattest()

    def dequeue(self, now: Instant) -> Queued | None:
        """Return what is served next (§4.2)."""
        while self._new or self._old:
            flows = self._new or self._old
            flow = flows[0]
            if flow.deficit <= 0:
                flow.deficit += QUANTUM
                flows.popleft()
                self._old.append(flow)
                continue
            queued = flow.codel.dequeue(
                now,
                pop=lambda flow=flow: self._pop(flow),  # type: ignore[misc]
                backlog=lambda: self.size,
                drop=self._tally.drop,
                mark=self._mark,
            )
            if queued is not None:
                flow.deficit -= queued.size
                return queued
            flows.popleft()
            if flows is self._new and self._old:
                # Else a flow could be new each time, and starve the old ones.
                self._old.append(flow)
            else:
                self._forget(flow)
        return None

    def take(self) -> list[Queued]:
        """Give up all that waits, in order of arrival."""
        waiting = [queued for flow in self._flows.values() for queued in flow.waiting]
        self._flows.clear()
        self._new.clear()
        self._old.clear()
        self.packets = self.size = 0
        return sorted(waiting, key=lambda queued: queued.arrived)

    def _pop(self, flow: _Flow) -> Queued | None:
        if not flow.waiting:
            return None
        queued = flow.waiting.popleft()
        flow.size -= queued.size
        self.packets -= 1
        self.size -= queued.size
        return queued

    def _drop_from_fattest(self) -> None:
        fattest = max(self._flows.values(), key=lambda flow: flow.size)
        half, dropped, gone = fattest.size // 2, 0, 0
        while gone < _DROP_BATCH and (gone == 0 or dropped < half):
            queued = self._pop(fattest)
            if queued is None:
                return
            dropped += queued.size
            gone += 1
            self._tally.drop(queued)

    def _mark(self, queued: Queued) -> bool:
        return self._ecn and self._tally.mark(queued)

    def _forget(self, flow: _Flow) -> None:
        # Its CoDel state stays, as in the kernel's table, while the flow is known; flows are few in a lab,
        # but an address scan would make many: then the idle ones go.
        flow.listed = False
        if len(self._flows) > _MAX_FLOWS:
            self._flows = {key: kept for key, kept in self._flows.items() if kept.listed}


#: Queues of the kernel's fq_codel: so many flows keep their state while they are idle.
_MAX_FLOWS = 1024
