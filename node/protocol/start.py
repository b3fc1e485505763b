"""What a connection consists of once the handshake has agreed on it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from node.protocol.acknowledged import on_acked, on_lost
from node.protocol.arq.base import ARQ_MODES
from node.protocol.congestion.base import CONTROLLERS, initial_window
from node.protocol.handshake import Keys, make_protection
from node.protocol.recovery.acknowledgements import Acknowledgements
from node.protocol.recovery.manager import Recovery
from node.protocol.streams.table import StreamTable
from node.protocol.wire.parameters import TransportParameters

if TYPE_CHECKING:
    from node.protocol.connection import Connection


def start(c: Connection, ours: TransportParameters, peer: TransportParameters, keys: Keys) -> None:
    """Make the parts of a connection as the handshake agreed on."""
    if c.observer is not None:
        c.observer.agreed(ours, peer)
    c.protection, c.keys = make_protection(ours.integrity, keys, c.configuration, initiator=c.initiator)
    c.is_authenticated = ours.integrity == "aead"
    c.arq = ARQ_MODES[ours.arq]()
    size = min(c.configuration.max_datagram_size, peer.max_datagram_size)
    c.acks = Acknowledgements(max_ack_delay=c.configuration.max_ack_delay, at_once=c.arq.acknowledge_at_once)
    c.paths.start(peer.connection_id, peer.stateless_reset_token)
    c.recovery = Recovery(
        # Its chance only spreads probes: the ID is drawn by the endpoint, and need not be secret.
        CONTROLLERS[c.configuration.congestion](size, rng=Random(c.connection_id)),
        initial_window=initial_window(size),
        on_acked=lambda record, mask: on_acked(c, record, mask),
        on_lost=lambda record, mask: on_lost(c, record, mask),
        ecn=c.configuration.ecn,
    )
    c.recovery.observer = c.observer
    c.recovery.max_ack_delay = 0 if c.arq.acknowledge_at_once else peer.max_ack_delay
    c.streams = StreamTable.agreed(c.configuration, peer, initiator=c.initiator)
    c.credit.raise_peer_maximum(peer.initial_max_data)
    c.life.agree_on_idle_timeout(peer.max_idle_timeout)
    if ours.agrees_on_fec(peer):
        from node.protocol.repair.fec import Fec  # brings numpy, which nobody else needs

        c.fec = Fec(c, ours.fec, ours.fec_arq)
    c.builder.configure(peer.connection_id, size)
