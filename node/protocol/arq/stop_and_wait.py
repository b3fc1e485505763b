"""Stop-and-wait (SPEC 7-2): send, wait for the acknowledgement, repeat if it does not come."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.arq.base import ARQ_MODES
from node.protocol.streams.send import SendStream


@ARQ_MODES.register("stop-and-wait")
class StopAndWait:
    """One packet with stream data at a time; the simplest that works, and the slowest."""

    name: ClassVar[str] = "stop-and-wait"
    max_open_packets: ClassVar[int | None] = 1
    in_order_only: ClassVar[bool] = False
    #: With one packet in flight no second one would ever hurry the acknowledgement.
    acknowledge_at_once: ClassVar[bool] = True

    def on_lost(self, stream: SendStream, start: int, end: int, *, fin: bool, epoch: int) -> None:
        stream.requeue(start, end, fin=fin)
