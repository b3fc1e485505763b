"""What a run's links did to each packet, read from the captures: when it arrived, if it was lost or changed.

A capture of a link holds each frame where it entered and where it left. Within a link nothing of a packet
changes but what the link itself changes: the ECN bits, or a bit that it flips. So what left is found again
among what entered.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from node.capture.pcapng import Capture, CaptureError, Direction
from node.links.fates import GivenCopy
from node.measuring.frames import is_probe
from node.protocol.time import SECOND, Instant
from orchestrator.backends.base import Collected
from orchestrator.errors import ProbeError
from orchestrator.probes.wire.copies import Copies
from orchestrator.probes.wire.headers import read_headers
from orchestrator.topology.model import LinkEndpoint
from orchestrator.topology.plan import DeploymentPlan, LinkPlan

#: What became of one packet: its copies that arrived; None: the capture ended before that could be seen.
Fate: TypeAlias = tuple[GivenCopy, ...] | None

_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_CE = 3
#: No copy of ours is longer under way.
_LONGEST = 120 * SECOND


@dataclass(slots=True)
class Recorded:
    """One direction of a link."""

    #: Of each packet that entered, in order: the first is number 1 of the run.
    fates: list[Fate] = field(default_factory=list)
    #: Frames that left and were never seen to enter.
    strays: int = 0


@dataclass(slots=True)
class _Entered:
    at: Instant
    frame: bytes
    copies: list[GivenCopy] = field(default_factory=list)


def record(plan: DeploymentPlan, collected: Collected) -> dict[LinkEndpoint, Recorded]:
    """Return what every direction of every link did, by the end that sends.

    Raises:
        ProbeError: a link was not captured, or not where frames leave it.
    """
    found: dict[LinkEndpoint, Recorded] = {}
    for link in plan.links:
        paths = collected.captures.get(link.name, [])
        if not paths:
            raise ProbeError(f"link {link.name} was not captured, so its fates are not known")
        ways: tuple[_Way, _Way] = (_Way(), _Way())
        for path in paths:
            _read(path, link, ways)
        if any(way.entered for way in ways) and not any(way.left for way in ways):
            raise ProbeError(f"the capture of link {link.name} holds only what entered it, not what left")
        end = max((at for way in ways for at in way.instants()), default=0)
        found[link.a] = _match(ways[0], end, rate=link.forward.rate)
        found[link.b] = _match(ways[1], end, rate=link.reverse.rate)
    return found


@dataclass(slots=True)
class _Way:
    entered: list[_Entered] = field(default_factory=list)
    left: list[tuple[Instant, bytes]] = field(default_factory=list)

    def instants(self) -> Iterator[Instant]:
        yield from (packet.at for packet in self.entered)
        yield from (at for at, _ in self.left)


def _read(path: Path, link: LinkPlan, ways: tuple[_Way, _Way]) -> None:
    try:
        for frame in Capture.open(path):
            data = bytes(frame.data)
            if is_probe(data):  # it measured the link before the run began
                continue
            if not _is_udp(data) and frame.direction == Direction.INBOUND:
                continue
            # The capture's interfaces are the link's ends, in order: in at one, out at the other.
            if frame.direction == Direction.INBOUND:
                ways[frame.interface].entered.append(_Entered(frame.at, data))
            elif frame.direction == Direction.OUTBOUND:
                ways[1 - frame.interface].left.append((frame.at, data))
    except (CaptureError, IndexError) as error:
        raise ProbeError(f"link {link.name}: {error}") from error


def _match(way: _Way, end: Instant, *, rate: int) -> Recorded:
    """Give what left to what entered."""
    recorded = Recorded()
    entered = sorted(way.entered, key=lambda packet: packet.at)
    same: dict[bytes, deque[_Entered]] = defaultdict(deque)
    for packet in entered:
        same[_essence(packet.frame)].append(packet)
    damaged: list[tuple[Instant, bytes]] = []
    for at, frame in sorted(way.left):
        candidates = same.get(_essence(frame))
        if not candidates:
            damaged.append((at, frame))
            continue
        # The oldest that has not arrived; a copy too many is a duplicate of the newest that has.
        packet = next((one for one in candidates if not one.copies), candidates[-1])
        marked = _ecn(frame) == _CE and _ecn(packet.frame) != _CE
        packet.copies.append(GivenCopy(max(0, at - packet.at), marked=marked))
    originals: Copies[_Entered] = Copies()
    for packet in entered if damaged else ():
        if not packet.copies:
            originals.add(packet.frame, packet.at, packet)
    for at, frame in damaged:
        recorded.strays += not _take_damaged(originals, at, frame)
    slowest = max((copy.delay for packet in entered for copy in packet.copies), default=0)
    _set_in_order(entered, rate)
    recorded.fates = [_fate(packet, end - slowest) for packet in entered]
    return recorded


def _set_in_order(entered: Sequence[_Entered], rate: int) -> None:
    """Say of each copy whether it overtook, and how long after the one before it, at least, it must arrive.

    That is what the bottleneck of ``rate`` bit/s takes for it (0: there is none), or less if it was less.
    """
    last: Instant | None = None
    for packet in entered:
        service = len(packet.frame) * 8 * SECOND // rate if rate else 0
        for place, copy in enumerate(packet.copies):
            at = packet.at + copy.delay
            if last is None:
                last = at
            elif at < last:
                packet.copies[place] = dataclasses.replace(copy, overtakes=True)
            else:
                packet.copies[place] = dataclasses.replace(copy, spacing=min(service, at - last))
                last = at


def _fate(packet: _Entered, surely_over: Instant) -> Fate:
    if packet.copies:
        return tuple(packet.copies)
    return () if packet.at < surely_over else None


def _take_damaged(originals: Copies[_Entered], at: Instant, frame: bytes) -> bool:
    """Give a damaged frame to the packet that it differs least from; False: it was none of these.

    Links flip one bit. Where more differ, the first is recorded.
    """
    found = originals.nearest(
        frame,
        at,
        # A checksum that was made right again for the damage is no second damage.
        ignored=_udp_checksum_bits(frame),
        fits=lambda packet: not packet.copies and at - packet.at <= _LONGEST,
    )
    if found is None:
        # What is no UDP was not recorded on its way in, either.
        return not _is_udp(frame)
    difference, packet = found
    first = 8 * len(frame) - difference.bit_length()
    packet.copies.append(GivenCopy(at - packet.at, corrupt_bit=first))
    return True


def _udp_checksum_bits(frame: bytes) -> int:
    """Return the bits of the UDP checksum's place, in a frame as one number."""
    start = 40 if frame[12:14] == _IPV4 else 60
    return 0xFFFF << 8 * (len(frame) - start - 2)


def _is_udp(frame: bytes) -> bool:
    return read_headers(memoryview(frame)) is not None


def _ecn(frame: bytes) -> int:
    return (frame[15] if frame[12:14] == _IPV4 else frame[15] >> 4) & _CE


def _essence(frame: bytes) -> bytes:
    """Return a frame without what a link may change on purpose: its ECN bits, and the checksum over them."""
    if frame[12:14] == _IPV4:
        return frame[:15] + bytes([frame[15] & 0xFC]) + frame[16:24] + frame[26:]
    if frame[12:14] == _IPV6:
        return frame[:15] + bytes([frame[15] & 0xCF]) + frame[16:]
    return frame
