"""What a connection consists of: what the handshake agreed on, or a ticket remembers (SPEC 3.2, 15-3)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from node.protocol.acknowledged import on_acked, on_lost
from node.protocol.arq.base import ARQ_MODES
from node.protocol.congestion.base import CONTROLLERS, initial_window
from node.protocol.early_data import MAX_EARLY_BYTES, EarlyData
from node.protocol.handshake import Keys, make_protection
from node.protocol.recovery.acknowledgements import Acknowledgements
from node.protocol.recovery.manager import Recovery
from node.protocol.streams.table import StreamTable
from node.protocol.wire.parameters import TransportParameters
from node.protocol.wire.protection import PacketProtection

if TYPE_CHECKING:
    from node.protocol.configuration import Configuration
    from node.protocol.connection import Connection
    from node.registry import Registry


def prepare(configuration: Configuration) -> None:
    """Import what connections will be made of, so that no handshake waits for it: its round trip counts.

    Raises:
        UnknownNameError: there is no such congestion controller.
    """
    registries: list[tuple[Registry[Any], str]] = [
        (ARQ_MODES, configuration.arq),
        (CONTROLLERS, configuration.congestion),
    ]
    if configuration.fec != "none":
        import node.protocol.repair.fec  # noqa: F401 (what start() imports)
        from node.protocol.fec.base import FEC_SCHEMES

        registries.append((FEC_SCHEMES, configuration.fec))
    for registry, name in registries:
        registry[name]


def start(c: Connection, ours: TransportParameters, peer: TransportParameters, keys: Keys) -> bool:
    """Take what the handshake agreed on; from now on there are streams.

    Returns:
        False: early data was sent that the peer did not take, and does not allow any more (SPEC 15-7).
    """
    c.parameters = peer
    if c.observer is not None:
        c.observer.agreed(ours, peer)
    if c.early is None:
        _make_parts(c, ours, peer)
    elif not c.early.settle(peer):
        return False
    c.protection, c.keys = make_protection(ours.integrity, keys, c.configuration, initiator=c.initiator)
    c.is_authenticated = ours.integrity == "aead"
    c.paths.start(peer.connection_id, peer.stateless_reset_token, ceiling=_packet_size(c, peer))
    c.recovery.max_ack_delay = 0 if c.arq.acknowledge_at_once else peer.max_ack_delay
    _take_limits(c, peer)
    c.life.agree_on_idle_timeout(peer.max_idle_timeout)
    if ours.agrees_on_fec(peer):
        from node.protocol.repair.fec import Fec  # brings numpy, which nobody else needs

        c.fec = Fec(c, ours.fec, ours.fec_arq)
    c.builder.configure(peer.connection_id, c.paths.active.mtu.current)
    return True


def start_early(
    c: Connection, ours: TransportParameters, remembered: TransportParameters, protection: PacketProtection
) -> None:
    """At the initiator: let streams begin under the limits that the ticket remembers (SPEC 15-3)."""
    c.parameters = remembered
    _make_parts(c, ours, remembered)
    c.protection, c.keys = protection, None
    c.is_authenticated = True
    most = min(remembered.initial_max_data, MAX_EARLY_BYTES)
    _take_limits(c, replace(remembered, initial_max_data=most))
    size = min(_packet_size(c, remembered), c.configuration.initial_datagram_size)
    c.builder.configure_early(c.connection_id, size)
    c.early = EarlyData(c, protection)


def _make_parts(c: Connection, ours: TransportParameters, peer: TransportParameters) -> None:
    c.arq = ARQ_MODES[ours.arq]()
    size = min(
        _packet_size(c, peer), c.configuration.initial_datagram_size
    )  # what the path begins with (13.4)
    c.acks = Acknowledgements(max_ack_delay=c.configuration.max_ack_delay, at_once=c.arq.acknowledge_at_once)
    c.recovery = Recovery(
        # Its chance only spreads probes: the ID is drawn by the endpoint, and need not be secret.
        CONTROLLERS[c.configuration.congestion](size, rng=Random(c.connection_id)),
        initial_window=initial_window(size),
        rng=c.rng,
        on_acked=partial(on_acked, c),
        on_lost=partial(on_lost, c),
        ecn=c.configuration.ecn,
    )
    c.recovery.observer = c.observer
    c.streams = StreamTable.agreed(c.configuration, peer, initiator=c.initiator)


def _take_limits(c: Connection, peer: TransportParameters) -> None:
    c.streams.set_peer_limits(
        stream_window=peer.initial_max_stream_data,
        max_bidi=peer.initial_max_streams_bidi,
        max_uni=peer.initial_max_streams_uni,
    )
    c.credit.set_peer_maximum(peer.initial_max_data)


def _packet_size(c: Connection, peer: TransportParameters) -> int:
    return min(c.configuration.max_datagram_size, peer.max_datagram_size)
