"""Selective repeat (SPEC 7-1): only what is lost is sent again. The default."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.arq.base import ARQ_MODES
from node.protocol.recovery.sent_packets import SentBurst


@ARQ_MODES.register("selective-repeat")
class SelectiveRepeat:
    """Any number of packets in flight; the receiver keeps what comes early."""

    name: ClassVar[str] = "selective-repeat"
    max_open_packets: ClassVar[int | None] = None
    in_order_only: ClassVar[bool] = False
    acknowledge_at_once: ClassVar[bool] = False

    def on_lost(self, burst: SentBurst, low: int, high: int) -> None:
        assert burst.stream is not None
        start, end, fin = burst.data_of(low, high)
        burst.stream.requeue(start, end, fin=fin)
