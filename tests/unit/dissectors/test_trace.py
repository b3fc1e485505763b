"""A trace, and what a second reading of the wire finds with the key log alone, say the same (SPEC 11, 16)."""

from __future__ import annotations

from itertools import zip_longest

import pytest

from node.dissectors.protection import full_packet_number
from node.dissectors.scapy_layer import dissect_frames
from node.protocol import trace
from node.protocol.configuration import Configuration
from node.protocol.time import SECOND
from orchestrator.probes.wire.phases import PhaseReader
from tests.support.pair import Pair, hostile

DATA_TYPES = (0x41, 0x45)


def told(pair: Pair, *, left: bool) -> list[tuple[int, int, list[tuple[int, int, int]]]]:
    """Return number, size and stream ranges of each DATA packet that a side told it sent."""
    found = []
    for event in pair.traced(trace.PacketSent, left=left):
        for index in range(event.count if event.kind == "data" else 0):
            last = index == event.count - 1
            parts = [
                (part.stream_id, part.offset, part.length)
                for part in event.frames
                if isinstance(part, trace.StreamPart)
            ]
            if event.run is not None:
                start = event.run.offset + index * event.run.size
                end = event.run.end if last else start + event.run.size
                parts = [(event.run.stream_id, start, end - start)]
            found.append((event.first + index, event.last_size if last else event.size, parts))
    return found


def seen(pair: Pair, *, left: bool) -> list[tuple[int, int, list[tuple[int, int, int]]]]:
    """Return the same of the datagrams on the wire, opened with what the key log says."""
    words = pair.key_log[0].split()
    assert words[0] == "STRAIT_DATA"
    reader = PhaseReader(words[3], bytes.fromhex(words[4 if left else 5]))
    found, largest = [], -1
    for _, from_left, datagram in pair.wire:
        if from_left is not left or datagram[0] not in DATA_TYPES:
            continue
        number = full_packet_number(largest, int.from_bytes(datagram[9:13], "big"))
        largest = max(largest, number)
        frames = dissect_frames(reader.open(datagram, number))
        parts = [(f.stream_id, f.offset, len(f.data)) for f in frames if type(f).__name__ == "Stream"]
        found.append((number, len(datagram), parts))
    return found


@pytest.mark.parametrize("integrity", ["aead", "crc32c"])
def test_each_packet_on_the_wire_is_the_one_that_was_told(integrity: str) -> None:
    ours = Configuration(integrity=integrity, key_update_packets=60)
    pair = Pair(left=ours, to_right=hostile(loss=0.02), coalesce=True, traced=True)
    connection = pair.established()
    stream = connection.open_stream()
    connection.write(stream, b"x" * 300_000, end=True)
    pair.drain()
    pair.run_until(lambda: len(pair.right_data.get(stream, b"")) == 300_000)
    pair.run_for(SECOND)
    if integrity == "aead":
        assert connection.statistics().key_updates >= 2
    for left in (True, False):
        for one, other in zip_longest(told(pair, left=left), seen(pair, left=left)):
            assert one == other
