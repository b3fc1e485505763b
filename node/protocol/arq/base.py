"""ARQ modes: how many packets may be open at once, what is repeated, what a receiver keeps (SPEC 7)."""

from __future__ import annotations

from typing import ClassVar, Protocol

from node.protocol.streams.send import SendStream
from node.registry import Registry


class ArqMode(Protocol):
    """One ARQ mode of one connection, for both directions."""

    name: ClassVar[str]
    #: Packets with stream data that may be unacknowledged at once; None: as windows allow.
    max_open_packets: ClassVar[int | None]
    #: Whether the receiver drops stream data that comes out of order.
    in_order_only: ClassVar[bool]
    #: Whether the receiver acknowledges each packet without delay.
    acknowledge_at_once: ClassVar[bool]

    def on_lost(self, stream: SendStream, start: int, end: int, *, fin: bool, epoch: int) -> None:
        """Requeue what must be sent again since a packet with this range of a stream is lost.

        Args:
            fin: whether the packet carried the stream's end.
            epoch: the stream's ``epoch`` when the packet was sent.
        """
        ...


ARQ_MODES: Registry[type[ArqMode]] = Registry("ARQ mode", "node.protocol.arq")
