"""What a seed draws: the settings of both ends, and what the network does to their datagrams."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from node.protocol.arq.base import ARQ_MODES
from node.protocol.configuration import FEC_ARQ_CODES, FEC_CODES, INTEGRITY_CODES, Configuration
from node.protocol.congestion.base import CONTROLLERS
from node.protocol.time import MILLISECOND, SECOND
from tests.support.pair import Fate, hostile

#: Settings that a seed does not draw, and why; a test holds this list and the draws to be all there are.
FIXED = {
    "accepted_integrity": "what is refused never becomes a connection",
    "idle_timeout": "a seed must end by arriving, not by silence",
    "handshake_timeout": "however much is lost, the handshake goes on",
}


def transfer_settings(rng: Random) -> Configuration:
    """Return what the oldest seeds draw, in their order: a named seed stays what it was."""
    window = rng.choice([1300, 5000, 20_000, 60_000, 1 << 20])
    return Configuration(
        integrity=rng.choice(sorted(INTEGRITY_CODES)),
        arq=rng.choice(ARQ_MODES.names()),
        max_datagram_size=rng.choice([1200, 1452, 4000]),
        connection_window=max(2400, window * rng.choice([1, 2, 4])),
        stream_window=window,
        max_streams_bidi=rng.randrange(1, 7),
        max_streams_uni=rng.randrange(7),
        max_ack_delay=rng.choice([0, 5, 25]) * MILLISECOND,
        handshake_timeout=3600 * SECOND,
        idle_timeout=0,
    )


def further_settings(drawn: Configuration, rng: Random) -> Configuration:
    """Return the settings with what came later, from chance of its own (``rng``: one for each seed)."""
    drawn = replace(drawn, congestion=rng.choice(CONTROLLERS.names()))
    return replace(
        drawn,
        fec="none" if drawn.arq == "stop-and-wait" else rng.choice(sorted(FEC_CODES)),
        fec_arq=rng.choice(sorted(FEC_ARQ_CODES)),
        fec_overhead_percent=rng.choice([1, 25, 100]),
    )


def network(rng: Random) -> Fate:
    """Return what happens to the datagrams of one direction."""
    if rng.random() < 0.1:
        return hostile(delay=rng.randrange(100 * MILLISECOND))
    return hostile(
        delay=rng.choice([0, 1, 10, 150]) * MILLISECOND,
        loss=rng.choice([0, 0.02, 0.1, 0.3]),
        duplicate=rng.choice([0, 0.1, 0.3]),
        reorder=rng.choice([0, 0.1, 0.5]),
        corrupt=rng.choice([0, 0.01, 0.1]),
    )
