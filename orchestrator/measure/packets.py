"""Sends measuring streams with raw sockets at both ends of real links.

Arrivals have the kernel's timestamp (SO_TIMESTAMPNS), taken when the frame came to the interface: how soon
this process reads it does not matter. Departures are stamped just before the frame is handed to the kernel.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import ProbeError
from orchestrator.measure.frames import ETHERTYPE, frame_number, probe_frame
from orchestrator.measure.streams import Arrival, Observed, Stream

_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_UDP_SEGMENT = 103
_TIMESPEC = struct.Struct("=qq")
_ETHERNET_BYTES = 14
#: A whole train of the largest frames waits here, with what the kernel adds to each.
_RECEIVE_BUFFER = 32 << 20
_LARGEST_FRAME = 65_600
#: Frames read at a time before others may send.
_READ_AT_ONCE = 64
#: The discard service: nobody answers there, and probes of the protocol look at other ports.
_DISCARD = 9
_BURST_SEGMENTS = 8
_BURST_WAIT = 0.05
_ETH_P_ALL = 3


@dataclass(slots=True)
class End:
    """One end of a link, as a prober needs it."""

    #: AF_PACKET sockets, bound to the interface: for frames of probes, and for frames of all kinds.
    packets: socket.socket
    everything: socket.socket
    #: A UDP socket of the node, to send bursts with; None: the node has no IPv4 address there.
    datagrams: socket.socket | None
    address: str
    mac: bytes
    mtu: int


def open_end(interface: str, *, address: str, mac: bytes, mtu: int) -> End:
    """Return an end of a link; to be called inside the node's network namespace.

    Raises:
        OSError: a socket cannot be made, which needs CAP_NET_RAW.
    """
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    packets.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    try:
        packets.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except PermissionError:
        # Root of a user namespace: up to the system's limit, as anybody.
        packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    packets.bind((interface, ETHERTYPE))
    packets.setblocking(False)
    everything = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    datagrams = None
    if address:
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind((address, 0))
    return End(packets, everything, datagrams, address, mac, mtu)


class PacketProber:
    """Probes real links.

    Args:
        ends: by name, as ``lisbon:eth1``.
        opposite: the name of the other end of each end's link.
        interfaces: the interface of each end.
    """

    exact = False

    def __init__(
        self, ends: Mapping[str, End], opposite: Mapping[str, str], interfaces: Mapping[str, str]
    ) -> None:
        self._ends = ends
        self._opposite = opposite
        self._interfaces = interfaces
        self._stream = 0

    async def send(self, streams: Mapping[str, Stream], *, linger: int) -> Mapping[str, Observed]:
        """Send all streams at the same time, and return what became of them.

        Raises:
            ProbeError: a frame cannot be sent or received.
        """
        self._stream = (self._stream + 1) % 256
        session = _Session(self._ends, self._opposite, streams, self._stream)
        try:
            return await asyncio.to_thread(session.run, linger)
        except OSError as error:
            raise ProbeError(f"the links cannot be measured: {error.strerror or error}") from error

    async def burst(self, ends: Sequence[str]) -> Mapping[str, int]:
        """Have the kernel of each end's node split one large burst; count frames above the MTU that came.

        Raises:
            ProbeError: it cannot be sent for a reason other than that the kernel has no such bursts.
        """
        try:
            return await asyncio.to_thread(self._burst, ends)
        except OSError as error:
            raise ProbeError(f"bursts cannot be sent: {error.strerror or error}") from error

    def close(self) -> None:
        """Close all sockets."""
        for end in self._ends.values():
            for opened in (end.packets, end.everything, end.datagrams):
                if opened is not None:
                    opened.close()

    def _burst(self, ends: Sequence[str]) -> Mapping[str, int]:
        sent = [end for end in ends if self._send_burst(end)]
        time.sleep(_BURST_WAIT if sent else 0)
        return {end: self._oversize(self._opposite[end]) for end in sent}

    def _send_burst(self, end: str) -> bool:
        source, target = self._ends[end], self._ends[self._opposite[end]]
        if source.datagrams is None or not target.address:
            return False
        target.everything.bind((self._interfaces[self._opposite[end]], _ETH_P_ALL))
        target.everything.setblocking(False)
        size = source.mtu - 28
        try:
            source.datagrams.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, size)
            source.datagrams.sendto(bytes(_BURST_SEGMENTS * size), (target.address, _DISCARD))
        except OSError:  # a kernel without them leaves none whole
            return False
        return True

    def _oversize(self, end: str) -> int:
        reader, count = self._ends[end].everything, 0
        while True:
            try:
                frame, sender = reader.recvfrom(_LARGEST_FRAME)
            except BlockingIOError:
                return count
            if sender[2] != socket.PACKET_OUTGOING:
                count += len(frame) > self._ends[end].mtu + _ETHERNET_BYTES


class _Session:
    """One set of streams, from the first frame to the last."""

    def __init__(
        self,
        ends: Mapping[str, End],
        opposite: Mapping[str, str],
        streams: Mapping[str, Stream],
        stream: int,
    ) -> None:
        self._stream = stream
        self.observed = {end: Observed(wanted) for end, wanted in streams.items()}
        self._sources = {end: ends[end] for end in streams}
        self._targets = {end: ends[opposite[end]] for end in streams}
        #: (when, end, number): the next frame of each stream.
        self._due: list[tuple[int, str, int]] = []
        self._missing = sum(wanted.count for wanted in streams.values())

    def run(self, linger: int) -> dict[str, Observed]:
        """Send and receive until nothing more comes, or ``linger`` ns after the last frame."""
        start = time.monotonic_ns() + 1_000_000
        with selectors.DefaultSelector() as selector:
            for number, (end, target) in enumerate(self._targets.items()):
                self._discard(target.packets)
                selector.register(target.packets, selectors.EVENT_READ, end)
                # Not all at the same instant: frames of one moment would wait for each other here.
                interval = self.observed[end].stream.interval
                offset = interval * number // len(self._targets)
                heapq.heappush(self._due, (start + offset, end, 0))
            deadline = None
            while deadline is None or time.monotonic_ns() < deadline:
                wait = self._send_due()
                if wait is None:
                    deadline = deadline or time.monotonic_ns() + linger
                    if self._missing <= 0:
                        break
                    wait = deadline - time.monotonic_ns()
                for key, _ in selector.select(max(0, wait) / 1e9):
                    self._read(key.data)
        return self.observed

    def _send_due(self) -> int | None:
        """Send what is due; return how long until the next is, ns; None: all is sent."""
        while self._due:
            wait = self._due[0][0] - time.monotonic_ns()
            if wait > 0:
                return wait
            at, end, number = heapq.heappop(self._due)
            stream = self.observed[end].stream
            if not stream.interval:
                self._send_train(end)
                continue
            self._send(end, number)
            if number + 1 < stream.count:
                heapq.heappush(self._due, (at + stream.interval, end, number + 1))
        return None

    def _send_train(self, end: str) -> None:
        stream = self.observed[end].stream
        frames = [self._frame(end, number) for number in range(stream.count)]
        send, departures = self._sources[end].packets.send, self.observed[end].departures
        for frame in frames:
            departures.append(time.time_ns())
            try:
                send(frame)
            except BlockingIOError:
                # The sender's own queue is full: wait for it, as any sender would.
                _wait_writable(self._sources[end].packets)
                send(frame)

    def _send(self, end: str, number: int) -> None:
        frame = self._frame(end, number)
        self.observed[end].departures.append(time.time_ns())
        self._sources[end].packets.send(frame)

    def _frame(self, end: str, number: int) -> bytes:
        return probe_frame(
            number,
            self.observed[end].stream.size,
            source=self._sources[end].mac,
            destination=self._targets[end].mac,
            stream=self._stream,
        )

    def _read(self, end: str) -> None:
        observed, reader = self.observed[end], self._targets[end].packets
        for _ in range(_READ_AT_ONCE):
            try:
                frame, extra, _, _ = reader.recvmsg(_LARGEST_FRAME, socket.CMSG_SPACE(_TIMESPEC.size))
            except BlockingIOError:
                return
            number = frame_number(frame, stream=self._stream)
            if number is None:
                continue
            seconds, nanoseconds = _TIMESPEC.unpack(extra[0][2][: _TIMESPEC.size])
            whole = self._frame(end, number) if number < observed.stream.count else b""
            at = seconds * 1_000_000_000 + nanoseconds
            observed.arrivals.append(Arrival(number, at, damaged=frame != whole))
            observed.oversize += len(frame) > self._targets[end].mtu + _ETHERNET_BYTES
            self._missing -= 1

    @staticmethod
    def _discard(reader: socket.socket) -> None:
        """Forget what came of streams before."""
        while True:
            try:
                reader.recv(_LARGEST_FRAME)
            except BlockingIOError:
                return


def _wait_writable(writer: socket.socket) -> None:
    """Wait until a socket takes more."""
    with selectors.DefaultSelector() as selector:
        selector.register(writer, selectors.EVENT_WRITE)
        selector.select()
