"""Sends the very same sealed datagram a second time."""

from __future__ import annotations

from random import Random
from typing import ClassVar

from node.dissectors.sealed import SEALED
from node.protocol.sealed.service import SealedService, SealedSettings
from node.protocol.time import MILLISECOND
from tests.mutants.base import MUTANTS, Mutant, rewrite
from tests.support.recorded import RecordedPair


@MUTANTS.register("repeats-datagrams")
class RepeatsDatagrams(Mutant):
    """Sends the very same sealed datagram a second time."""

    breaks: ClassVar[tuple[str, ...]] = ("14-3",)

    def break_node(self, pair: RecordedPair) -> None:
        """Double all of them."""
        rewrite(pair.left, lambda datagram: [datagram] * (2 if datagram[0] == SEALED else 1))

    def connect(self, pair: RecordedPair) -> None:
        """Give the left end what sealed datagrams need."""
        settings = SealedSettings(lambda address: pair.peer, epoch=1, process=lambda: 0)
        pair.left._sealed = SealedService(pair.left.identity, settings, rng=Random(1), key_log=None)
        super().connect(pair)

    def work(self, pair: RecordedPair) -> None:
        """Send some beside the streams."""
        for number in range(5):
            pair.left.send_datagram(pair.peer, bytes([number]) * 2000)
            pair.drain()
            pair.run_for(10 * MILLISECOND)
        super().work(pair)
