"""A stream of UDP packets through one direction of a link, and what became of it.

The same stream goes through a kernel's qdiscs, through the relay of `node.shaper` and through the link model.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.links.frames import ETHERNET_BYTES, ecn_capable, flow_of, mark_frame
from node.links.model import Delivery, LinkModel
from node.links.settings import Impairments
from node.protocol.time import MILLISECOND, SECOND, Instant
from node.shaper.client import LineClient, ShaperClient
from node.shaper.frames import flip_bit

#: Not in Python's socket module: Linux's numbers.
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
SO_TIMESTAMPNS_NEW = 64
ETH_P_ALL = 3
#: Bits of a frame that a mark may change: the ECN field, and the checksum of the IP header.
MARKED_BYTES = (15, 24, 25)
PAYLOAD = ETHERNET_BYTES + 28
#: What nobody listens to: no stack answers.
ETHERNET = b"\x02\x00\x00\x00\x00\x09" + b"\x02\x00\x00\x00\x00\x07" + b"\x08\x00"
SPARSE_EVERY = 10


@dataclass(frozen=True)
class Arrival:
    """One frame that came out."""

    sequence: int
    #: From sending to arrival, ns.
    delay: int
    marked: bool = False
    corrupted: bool = False


@dataclass(frozen=True)
class Stream:
    """Packets at a steady pace; every tenth is of another flow."""

    #: ns between two.
    gap: int = MILLISECOND
    count: int = 1_500
    #: Bytes of a frame.
    size: int = 214

    def frame(self, sequence: int) -> bytes:
        """Return a packet of the stream: UDP over IPv4, ECT(0), without UDP checksum."""
        port = 40_000 + (sequence % SPARSE_EVERY == 0)
        # Three times, so that the number is known though a bit of it was flipped.
        payload = 3 * sequence.to_bytes(4, "big") + bytes(self.size - PAYLOAD - 12)
        udp = (
            port.to_bytes(2, "big")
            + (9).to_bytes(2, "big")
            + (len(payload) + 8).to_bytes(2, "big")
            + bytes(2)
        )
        header = bytearray(b"\x45\x02" + (len(payload) + 28).to_bytes(2, "big") + bytes(4))
        header += b"\x40\x11" + bytes(2) + bytes((192, 0, 2, 1)) + bytes((192, 0, 2, 2))
        total = sum(int.from_bytes(header[place : place + 2], "big") for place in range(0, 20, 2))
        header[10:12] = (0xFFFF - total % 0xFFFF).to_bytes(2, "big")
        return ETHERNET + bytes(header) + udp + payload

    def through_wire(self, near: str, far: str) -> list[Arrival]:
        """Send it out of ``near`` and note what arrives at ``far``, by the kernel's time stamps."""
        with _packet_socket(near, 0) as out, _packet_socket(far, ETH_P_ALL) as into:
            # A qdisc on the sender's own egress would else push back into its socket, and the stream stall.
            out.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 27)
            into.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 27)
            into.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS_NEW, 1)
            into.settimeout(2)  # virtual
            sent = list(self._send(out))
            return [self._read(frame, at, sent) for frame, at in _frames(into)]

    def through_model(self, impairments: Impairments, *, seed: int = 1) -> list[Arrival]:
        """Return what the model says."""
        model = LinkModel(impairments, random.Random(seed))
        made: list[Delivery] = []
        sent = [SECOND + sequence * self.gap for sequence in range(self.count)]
        for sequence, now in enumerate(sent):
            frame = self.frame(sequence)
            made += model.advance(now)
            made += model.enqueue(
                self.size, now, item=frame, ecn_capable=ecn_capable(frame), flow=flow_of(frame)
            )
        made += model.advance(sent[-1] + 3600 * SECOND)
        return [
            self._read(_arriving(found), found.at, sent) for found in sorted(made, key=lambda found: found.at)
        ]

    def _send(self, out: socket.socket) -> Iterator[Instant]:
        start = time.clock_gettime_ns(time.CLOCK_REALTIME) + MILLISECOND
        for sequence in range(self.count):
            due = start + sequence * self.gap
            while (now := time.clock_gettime_ns(time.CLOCK_REALTIME)) < due:
                time.sleep((due - now) / SECOND)
            out.send(self.frame(sequence))
            yield now

    def _read(self, frame: bytes, at: Instant, sent: list[Instant]) -> Arrival:
        numbers = [
            int.from_bytes(frame[place : place + 4], "big") for place in range(PAYLOAD, PAYLOAD + 12, 4)
        ]
        sequence = sorted(numbers)[1]
        expected = self.frame(sequence)
        corrupted = _without_mark(frame) != _without_mark(expected)
        return Arrival(sequence, at - sent[sequence], frame[15] & 3 == 3, corrupted)


@dataclass(frozen=True)
class Figures:
    """What a stream says about a link; None where nothing says it."""

    loss: float
    #: Mean length of runs of lost packets.
    loss_run: float
    duplicates: float
    #: Of all that arrived, what came after a packet that was sent later.
    late: float
    corrupted: float
    marked: float
    #: Delay in ns: mean, standard deviation and quantiles.
    mean: float
    deviation: float
    p10: float
    p50: float
    p90: float
    #: Mean delay of the sparse flow, ns.
    sparse: float
    #: Arrivals a second, from the first to the last.
    rate: float
    arrived: int

    @classmethod
    def of(cls, arrivals: list[Arrival], stream: Stream) -> Figures:
        """Return the figures of what arrived."""
        times = Counter(found.sequence for found in arrivals)
        missing = [sequence not in times for sequence in range(stream.count)]
        runs = [len(list(group)) for lost, group in itertools.groupby(missing) if lost]
        highest = itertools.accumulate((found.sequence for found in arrivals), max)
        late = sum(found.sequence < most for found, most in zip(arrivals, highest, strict=True))
        delays = sorted(found.delay for found in arrivals)
        sparse = [found.delay for found in arrivals if found.sequence % SPARSE_EVERY == 0]
        at = [found.delay + found.sequence * stream.gap for found in arrivals]
        mean = sum(delays) / len(delays)
        return cls(
            loss=sum(missing) / stream.count,
            loss_run=sum(runs) / len(runs) if runs else 0.0,
            duplicates=sum(count - 1 for count in times.values()) / stream.count,
            late=late / len(arrivals),
            corrupted=sum(found.corrupted for found in arrivals) / len(arrivals),
            marked=sum(found.marked for found in arrivals) / len(arrivals),
            mean=mean,
            deviation=math.sqrt(sum((delay - mean) ** 2 for delay in delays) / len(delays)),
            p10=delays[len(delays) // 10],
            p50=delays[len(delays) // 2],
            p90=delays[len(delays) * 9 // 10],
            sparse=sum(sparse) / len(sparse),
            rate=(len(arrivals) - 1) * SECOND / max(1, max(at) - min(at)),
            arrived=len(arrivals),
        )


@contextmanager
def veths(*pairs: tuple[str, str]) -> Iterator[None]:
    """Make pairs of joined interfaces, gone at the end."""
    try:
        for near, far in pairs:
            subprocess.run(["ip", "link", "add", near, "type", "veth", "peer", "name", far], check=True)
            for name in (near, far):
                # Without an address of its own IPv6 sends nothing that would come between.
                subprocess.run(["ip", "link", "set", name, "addrgenmode", "none", "up"], check=True)
        yield
    finally:
        for near, _ in pairs:
            subprocess.run(["ip", "link", "del", near], check=False)


@contextmanager
def relay(near: str, far: str, directory: Path) -> Iterator[ShaperClient]:
    """Run the shaper between two interfaces."""
    control = directory / "relay.sock"
    told = {"interfaces": [near, far], "control": str(control), "seed": "parity"}
    with _shaper("relay", told, directory), ShaperClient.wait(str(control), timeout_seconds=60) as client:
        yield client


@contextmanager
def player(directory: Path) -> Iterator[LineClient]:
    """Run what plays traces into the kernel."""
    control = str(directory / "steps.sock")
    with _shaper("steps", {"control": control}, directory), LineClient.wait(control) as client:
        yield client


@contextmanager
def _shaper(form: str, told: Mapping[str, object], directory: Path) -> Iterator[None]:
    configuration = directory / f"{form}.json"
    configuration.write_text(json.dumps(told), encoding="utf-8")
    argv = [sys.executable, "-m", "node.shaper", form, "--config", str(configuration)]
    process = subprocess.Popen(argv)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def _arriving(delivery: Delivery) -> bytes:
    frame = delivery.item
    assert isinstance(frame, bytes)
    frame = mark_frame(frame) if delivery.marked else frame
    return frame if delivery.corrupt_bit is None else flip_bit(frame, delivery.corrupt_bit)


def _without_mark(frame: bytes) -> bytes:
    blank = bytearray(frame)
    for place in MARKED_BYTES:
        blank[place] = 0
    return bytes(blank)


def _packet_socket(interface: str, ethertype: int) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    made.bind((interface, ethertype))
    return made


def _frames(into: socket.socket) -> Iterable[tuple[bytes, Instant]]:
    while True:
        try:
            frame, ancillary, _, address = into.recvmsg(65_536, 256)
        except TimeoutError:
            return
        if address[2] == socket.PACKET_OUTGOING or len(frame) < PAYLOAD + 12:
            continue
        stamp = ancillary[0][2]
        yield frame, int.from_bytes(stamp[:8], "little") * SECOND + int.from_bytes(stamp[8:16], "little")
