"""Selective repeat (SPEC 7-1): only what is lost is sent again. The default."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.arq.base import ARQ_MODES
from node.protocol.streams.send import SendStream


@ARQ_MODES.register("selective-repeat")
class SelectiveRepeat:
    """Any number of packets in flight; the receiver keeps what comes early."""

    name: ClassVar[str] = "selective-repeat"
    max_open_packets: ClassVar[int | None] = None
    in_order_only: ClassVar[bool] = False
    acknowledge_at_once: ClassVar[bool] = False

    def on_lost(self, stream: SendStream, start: int, end: int, *, fin: bool, epoch: int) -> None:
        stream.requeue(start, end, fin=fin)
