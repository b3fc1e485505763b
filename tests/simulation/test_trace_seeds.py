"""Whatever is configured and whatever the network does: traces load, and count what the connection counts."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from node.protocol.configuration import ARQ_CODES, Configuration
from node.protocol.congestion.base import CONTROLLERS
from node.protocol.connection import Connection
from node.protocol.time import SECOND
from node.qlog.writer import QlogWriter
from tests.support import qvis
from tests.support.pair import Pair, hostile

SIZE = 60_000


def chosen(rng: Random) -> Configuration:
    """Return a configuration by chance."""
    arq = rng.choice(list(ARQ_CODES))
    return Configuration(
        arq=arq,
        integrity=rng.choice(["aead", "aead", "crc32c"]),
        congestion=rng.choice(CONTROLLERS.names()),
        handshake=rng.choice(["ik", "xx"]),
        fec="none" if arq == "stop-and-wait" else rng.choice(["none", "xor", "reed-solomon"]),
        key_update_packets=rng.choice([30, 1_000_000]),
    )


@pytest.mark.parametrize("seed", range(10))
def test_traces_load_and_count_what_the_connection_counts(seed: int, tmp_path: Path) -> None:
    """SPEC 16-2, 16-5."""
    rng = Random(seed)
    ours = chosen(rng)
    fate = hostile(
        loss=rng.choice([0, 0.05, 0.1]), reorder=rng.choice([0, 0.3]), duplicate=rng.choice([0, 0.1]),
        corrupt=rng.choice([0, 0.02]),
    )  # fmt: skip
    common: Any = {"reference": 0, "reference_time": 1.0, "on_trouble": pytest.fail}
    writers = [
        QlogWriter(tmp_path / side, name=side, local=(side, 1), **common) for side in ("left", "right")
    ]
    pair = Pair(
        left=ours, right=Configuration(fec=ours.fec), to_right=fate, seed=seed,
        coalesce=rng.random() < 0.5, tracers=[writer.tracer_of for writer in writers],
    )  # fmt: skip
    connection = pair.established()
    streams = [connection.open_stream() for _ in range(rng.randint(1, 4))]
    for stream in streams:
        connection.write(stream, rng.randbytes(SIZE), end=True)
    pair.drain()
    pair.run_until(lambda: all(len(pair.right_data.get(stream, b"")) == SIZE for stream in streams))
    pair.run_for(SECOND)
    connection.close(now=pair.now)
    pair.drain()
    pair.run_for(5 * SECOND)
    assert pair.accepted is not None
    for writer, side, end in zip(writers, ("left", "right"), (connection, pair.accepted), strict=True):
        writer.close()
        for path in (tmp_path / side).iterdir():
            loaded = qvis.load(path)
            if path.stem != "node":
                check(loaded, end)


def check(loaded: qvis.Loaded, connection: Connection) -> None:
    """Compare what a trace tells with what its connection counted."""
    found = connection.statistics()
    data = [
        event["data"]
        for event in loaded.lookup("transport", "packet_received")
        if event["data"]["header"]["packet_type"] == "1RTT"
    ]
    drops = [event["data"]["trigger"] for event in loaded.lookup("transport", "packet_dropped")]
    assert len(data) == found.packets_received
    assert drops.count("duplicate") == found.duplicate_packets
    assert drops.count("decryption_failure") == found.integrity_failures
    assert len(loaded.lookup("recovery", "packet_lost")) == found.packets_lost
    assert len(loaded.lookup("strait", "fec_packet_rebuilt")) == found.fec_packets_rebuilt
