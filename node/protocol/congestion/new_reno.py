"""NewReno as RFC 9002 §7 has it."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from node.protocol.congestion.base import CONTROLLERS
from node.protocol.loss_based.controller import LossBased
from node.protocol.recovery.samples import AckSample


@CONTROLLERS.register("new-reno")
class NewReno(LossBased):
    """Half the window after a loss, then a packet more each round trip (RFC 9002 §7.3)."""

    name: ClassVar[str] = "new-reno"

    def __init__(self, max_datagram_size: int, *, rng: Random | None = None) -> None:
        super().__init__(max_datagram_size, rng=rng)
        #: Acknowledged bytes towards the next packet of growth.
        self._credit = 0

    def reduced_window(self) -> int:
        self._credit = 0
        return self.congestion_window // 2

    def grow(self, sample: AckSample) -> None:
        self._credit += sample.acked_bytes
        if self._credit >= self.congestion_window:
            self._credit -= self.congestion_window
            self.congestion_window += self.max_datagram_size
