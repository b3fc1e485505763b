"""Go-back-n (SPEC 7-3): the receiver keeps nothing early, the sender repeats all from the loss on."""

from __future__ import annotations

from typing import ClassVar

from node.protocol.arq.base import ARQ_MODES
from node.protocol.streams.send import SendStream


@ARQ_MODES.register("go-back-n")
class GoBackN:
    """Any number of packets in flight, and no memory at the receiver."""

    name: ClassVar[str] = "go-back-n"
    max_open_packets: ClassVar[int | None] = None
    in_order_only: ClassVar[bool] = True
    acknowledge_at_once: ClassVar[bool] = False

    def on_lost(self, stream: SendStream, start: int, end: int, *, fin: bool, epoch: int) -> None:
        if start == end:  # nothing but the stream's end: there is no byte to go back to
            stream.requeue(start, end, fin=fin)
        # Packets sent before the last step back were dropped with the one that was lost: they are
        # on their way again, and their own loss says nothing new.
        elif epoch == stream.epoch or start < stream.rewound_to:
            stream.rewind(start)
