"""What a seed draws: the settings of both ends, and what the network does to their datagrams."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from node.protocol.arq.base import ARQ_MODES
from node.protocol.configuration import FEC_ARQ_CODES, FEC_CODES, INTEGRITY_CODES, Configuration
from node.protocol.congestion.base import CONTROLLERS
from node.protocol.ml_kem import has_ml_kem
from node.protocol.suites import CIPHER_CODES, HANDSHAKE_CODES, POST_QUANTUM_SETUP_BYTES
from node.protocol.time import MILLISECOND, SECOND
from tests.support.pair import Fate, hostile

#: Settings that a seed does not draw, and why; a test holds this list and the draws to be all there are.
FIXED = {
    "accepted_integrity": "what is refused never becomes a connection",
    "idle_timeout": "a seed must end by arriving, not by silence",
    "accepted_suites": "what is refused never becomes a connection",
    "pre_shared_key": "any one is as good, and both ends must have the same",
    "keep_alive": "only ends that move need it, and get it",
    "max_message_size": "as long as a stream's window: nothing longer is sent",
    "handshake_timeout": "however much is lost, the handshake goes on",
}

PRE_SHARED_KEY = bytes(range(32)).hex()


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


def further_settings(
    left: Configuration, right: Configuration, rng: Random
) -> tuple[Configuration, Configuration]:
    """Return the settings with what came later, from chance of its own (``rng``: one for each seed)."""
    threshold = 0 if rng.random() < 0.2 else 256
    early = rng.random() < 0.4
    left = replace(
        left,
        pre_shared_key=PRE_SHARED_KEY,
        handshake=rng.choice(sorted(HANDSHAKE_CODES)),
        cipher=rng.choice(sorted(CIPHER_CODES)),
        retry_threshold=threshold,
        early_data=early,
        fec="none" if left.arq == "stop-and-wait" else rng.choice(sorted(FEC_CODES)),
        fec_arq=rng.choice(sorted(FEC_ARQ_CODES)),
    )
    if left.max_datagram_size >= POST_QUANTUM_SETUP_BYTES and has_ml_kem():
        left = replace(left, post_quantum=rng.random() < 0.1)
    right = replace(right, pre_shared_key=PRE_SHARED_KEY, retry_threshold=threshold, early_data=early)
    return _own(left, rng), _own(right, rng)


def _own(drawn: Configuration, rng: Random) -> Configuration:
    """Draw what each end chooses for itself."""
    return replace(
        drawn,
        congestion=rng.choice(CONTROLLERS.names()),
        key_update_packets=rng.choice([1 << 22, 200, 20, 1]),
        key_update_interval=rng.choice([0, 30 * MILLISECOND, SECOND, 3600 * SECOND]),
        fec_overhead_percent=rng.choice([1, 25, 100]),
        ecn=rng.random() < 0.5,
        remember_path=rng.random() < 0.5,
        initial_datagram_size=min(drawn.max_datagram_size, rng.choice([1200, 1452, 4000])),
        initial_connection_window=rng.choice([2400, 10_000, 6 << 20]),
        initial_stream_window=rng.choice([1200, 8000, 4 << 20]),
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
