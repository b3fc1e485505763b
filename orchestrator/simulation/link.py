"""One direction of a simulated link: the link model, with packets that arrive when it says."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeAlias

from node.links.model import LinkModel
from node.links.settings import Impairments
from node.protocol.time import Instant
from orchestrator.simulation.packet import Packet
from orchestrator.simulation.scheduler import Scheduler

#: Is shown a packet on the link; called with the instant, and whether it is being delivered (else: sent).
Tap: TypeAlias = Callable[[Instant, bool, Packet], None]


class LinkDirection:
    """From one interface to the one at the other end.

    Args:
        name: ``a:eth1->b:eth1``; with the seed, it seeds the direction's chance.
        receive: takes what arrives at the other end.
    """

    def __init__(
        self,
        name: str,
        impairments: Impairments,
        *,
        seed: int,
        scheduler: Scheduler,
        receive: Callable[[Packet], None],
    ) -> None:
        self.name = name
        self.model = LinkModel(impairments, Random(f"{seed}/link/{name}"))
        #: Who watches this direction, in order of being called.
        self.taps: list[Tap] = []
        self._scheduler = scheduler
        self._receive = receive

    def send(self, packet: Packet) -> None:
        """Put a packet on the link now. It must not be changed afterwards."""
        scheduler = self._scheduler
        now = scheduler.now
        for tap in self.taps:
            tap(now, False, packet)
        for at, corrupt_bit in self.model.enqueue(packet.size, now):
            arriving = packet if corrupt_bit is None else packet.corrupted(corrupt_bit)
            scheduler.at(at, self._arrive, arriving)

    def _arrive(self, packet: Packet) -> None:
        now = self._scheduler.now
        for tap in self.taps:
            tap(now, True, packet)
        self._receive(packet)
