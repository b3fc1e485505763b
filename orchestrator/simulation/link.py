"""One direction of a simulated link: the link model, with packets that arrive when it says."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeAlias

from node.links.fates import Fates
from node.links.frames import ecn_capable, flow_of
from node.links.model import Delivery, LinkModel
from node.links.settings import Impairments
from node.protocol.time import Instant
from orchestrator.simulation.packet import ECN_CE, Packet
from orchestrator.simulation.scheduler import Scheduler

#: Is shown a packet on the link; called with the instant, and whether it is being delivered (else: sent).
Tap: TypeAlias = Callable[[Instant, bool, Packet], None]


class LinkDirection:
    """From one interface to the one at the other end.

    Args:
        name: ``a:eth1->b:eth1``; with the seed, it seeds the direction's chance.
        receive: takes what arrives at the other end.
        fates: what becomes of packets by number, where that was recorded.
    """

    def __init__(
        self,
        name: str,
        impairments: Impairments,
        *,
        seed: int,
        scheduler: Scheduler,
        receive: Callable[[Packet], None],
        fates: Fates | None = None,
    ) -> None:
        self.name = name
        self.model = LinkModel(impairments, Random(f"{seed}/link/{name}"), fates=fates)
        #: Who watches this direction, in order of being called.
        self.taps: list[Tap] = []
        self._arrived = 0
        # When the model's queue is looked at next; None: not before something comes.
        self._look_at: Instant | None = None
        self._scheduler = scheduler
        self._receive = receive

    def send(self, packet: Packet) -> None:
        """Put a packet on the link now. It must not be changed afterwards."""
        scheduler = self._scheduler
        now = scheduler.now
        for tap in self.taps:
            tap(now, False, packet)
        made = self.model.enqueue(
            packet.size,
            now,
            item=packet,
            ecn_capable=packet.ecn != 0 if packet.frame is None else ecn_capable(packet.frame),
            flow=(packet.source, packet.destination) if packet.frame is None else flow_of(packet.frame),
        )
        for delivery in made:
            self._deliver(delivery)
        if self.model.managed:
            self._look_soon()

    @property
    def under_way(self) -> int:
        """Frames that wait or travel on the link: neither lost nor arrived yet."""
        return self.model.counters().delivered - self._arrived

    def begin(self) -> None:
        """Let the run start now."""
        self.model.begin(now=self._scheduler.now)
        self._look_soon()

    def replace(self, impairments: Impairments) -> None:
        """Do this to packets from now on."""
        self.model.replace(impairments)
        self._look_soon()

    def _deliver(self, delivery: Delivery) -> None:
        at, corrupt_bit, marked, packet = delivery
        assert isinstance(packet, Packet)
        if marked:
            packet = packet.with_ecn(ECN_CE)
        self._scheduler.at(at, self._arrive, packet if corrupt_bit is None else packet.corrupted(corrupt_bit))

    def _look_soon(self) -> None:
        at = self.model.next_at()
        if at is None:
            return
        at = max(at, self._scheduler.now)
        # An earlier look that is due anyway finds out when the next one is.
        if self._look_at is None or at < self._look_at:
            self._look_at = at
            self._scheduler.at(at, self._look, at)

    def _look(self, at: Instant) -> None:
        if at != self._look_at:
            return
        self._look_at = None
        for delivery in self.model.advance(self._scheduler.now):
            self._deliver(delivery)
        self._look_soon()

    def _arrive(self, packet: Packet) -> None:
        now = self._scheduler.now
        self._arrived += 1
        for tap in self.taps:
            tap(now, True, packet)
        self._receive(packet)
