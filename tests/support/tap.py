"""What crossed the wire between two ends, opened by the second implementation with logged keys."""

from __future__ import annotations

from dataclasses import dataclass

from node.dissectors.protection import full_packet_number, opener
from node.protocol.time import Instant
from node.protocol.wire.frames import Frame, NewConnectionId, Stream, parse_frames
from tests.support.pair import Pair

DATA = 0x41


@dataclass(frozen=True, slots=True)
class Seen:
    """One DATA packet: when it was sent, by whom, and what is in it."""

    time: Instant
    from_left: bool
    number: int
    frames: tuple[Frame, ...]


def seen(pair: Pair, since: int = 0) -> list[Seen]:
    """Return all DATA packets that were sent on the first connection of a pair, from ``since`` on.

    Raises:
        TagError: one of them does not open with the keys of the key log.
    """
    line = next(line for line in pair.key_log if line.startswith("STRAIT_DATA"))
    _, left_id, right_id, profile, forward, back = line.split()
    openers = {True: opener(profile, bytes.fromhex(forward)), False: opener(profile, bytes.fromhex(back))}
    targets = {True: {bytes.fromhex(right_id)}, False: {bytes.fromhex(left_id)}}
    largest = {True: -1, False: -1}
    found = []
    for index, (time, from_left, datagram) in enumerate(pair.wire):
        if datagram[0] != DATA or datagram[1:9] not in targets[from_left]:
            continue
        number = full_packet_number(largest[from_left], int.from_bytes(datagram[9:13], "big"))
        largest[from_left] = max(largest[from_left], number)
        frames = tuple(parse_frames(memoryview(bytes(openers[from_left](datagram, number)))))
        issued = {frame.connection_id for frame in frames if isinstance(frame, NewConnectionId)}
        targets[not from_left] |= issued
        if index >= since:
            found.append(Seen(time, from_left, number, frames))
    return found


def streams(packets: list[Seen], *, from_left: bool) -> list[tuple[Seen, Stream]]:
    """Return the STREAM frames that one side sent, each with its packet."""
    return [
        (packet, frame)
        for packet in packets
        if packet.from_left is from_left
        for frame in packet.frames
        if isinstance(frame, Stream)
    ]
