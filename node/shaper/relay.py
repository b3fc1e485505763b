"""The AF_PACKET relay: joins two interfaces of this network namespace, a link model each way.

Made for a link namespace between two veths. The far ends must have tx checksum, tso, gso and
tx-udp-segmentation off: behind AF_PACKET a burst is one packet, and an unfinished checksum stays so.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable

from node.links.frames import ecn_capable, flow_of, mark_frame
from node.links.model import Delivery
from node.protocol.time import SECOND, Instant
from node.shaper.configuration import RelayConfiguration, ShaperError
from node.shaper.control import ControlServer
from node.shaper.directions import Direction
from node.shaper.frames import ETHERNET_BYTES, flip_bit, has_unfinished_checksum
from node.shaper.loop import Loop

_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_IGNORE_OUTGOING = 23
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
#: Enough for a burst of 40,000 full packets while we are not scheduled.
_BUFFER_BYTES = 64 * 1024 * 1024
#: Frames read in one go before others are looked after: 64 take less than a millisecond.
_BATCH = 64
#: How many frames of each direction are looked at for unfinished checksums: the first ones, since an
#: offload that was left on shows at once.
_EXAMINED_FRAMES = 100
_MAX_FRAME = 65_536 + ETHERNET_BYTES


def run_relay(configuration: RelayConfiguration, on_ready: Callable[[], None]) -> None:
    """Relay until SIGTERM, a ``stop`` command, or until one of the interfaces is gone.

    Raises:
        ShaperError: an interface or the right to use it is missing.
    """
    forward = Direction("forward", configuration.forward, configuration.seed)
    reverse = Direction("reverse", configuration.reverse, configuration.seed)
    with (
        Loop() as loop,
        _open(configuration.interface_a) as a,
        _open(configuration.interface_b) as b,
    ):
        _Path(loop, forward, a, b, configuration.interface_a, configuration.mtu)
        _Path(loop, reverse, b, a, configuration.interface_b, configuration.mtu)
        control = ControlServer(loop, configuration.control, {"forward": forward, "reverse": reverse})
        try:
            on_ready()
            loop.run()
        finally:
            control.close()


def _open(interface: str) -> socket.socket:
    try:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise ShaperError("the relay needs CAP_NET_RAW: run it as root") from error
    try:
        for force, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                opened.setsockopt(socket.SOL_SOCKET, force, _BUFFER_BYTES)
            except PermissionError:
                # Root of a user namespace: up to the system's limit, as anybody.
                opened.setsockopt(socket.SOL_SOCKET, plain, _BUFFER_BYTES)
        opened.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        opened.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        # Bound last: until then, protocol 0 keeps other interfaces' packets out.
        opened.bind((interface, _ETH_P_ALL))
    except OSError as error:
        opened.close()
        raise ShaperError(f"interface {interface}: {error.strerror}") from error
    opened.setblocking(False)
    return opened


class _Path:
    """Frames from one interface to the other."""

    def __init__(
        self,
        loop: Loop,
        direction: Direction,
        source: socket.socket,
        target: socket.socket,
        source_name: str,
        mtu: int,
    ) -> None:
        self._loop = loop
        self._direction = direction
        self._source = source
        self._target = target
        self._source_name = source_name
        self._longest = mtu + ETHERNET_BYTES
        self._to_examine = _EXAMINED_FRAMES
        # When the model's queue is looked at next; None: not before something comes.
        self._look_at: Instant | None = None
        direction.on_set = self._look_soon
        self._buffer = bytearray(_MAX_FRAME)
        self._view = memoryview(self._buffer)
        loop.on_readable(source, self._read)

    def _read(self) -> None:
        source, buffer, view = self._source, self._buffer, self._view
        clock = time.monotonic_ns
        for number in range(_BATCH):
            try:
                # Of the oldest frame alone is asked how long it waited for us: that costs a microsecond.
                size = source.recv_into(buffer) if number else self._read_oldest()
            except BlockingIOError:
                return
            except OSError as error:
                self._on_socket_error(error, source)
                return
            if size > self._longest:
                self._on_oversized(size)
            if self._to_examine:
                self._examine(buffer)
            self._enqueue(view[:size], clock())

    def _read_oldest(self) -> int:
        size, ancillary, _, _ = self._source.recvmsg_into([self._buffer], _ANCILLARY_BYTES)
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                seconds, nanoseconds = _TIMESPEC.unpack(data)
                self._loop.lateness.note(time.time_ns() - seconds * SECOND - nanoseconds)
        return size

    def _enqueue(self, frame: memoryview, now: Instant) -> None:
        model = self._direction.model
        if not model.reads_headers and not model.managed:
            deliveries = model.enqueue(len(frame), now)
            whole = bytes(frame) if deliveries else b""
        else:
            whole = bytes(frame)
            deliveries = model.enqueue(
                len(whole), now, item=whole, ecn_capable=ecn_capable(whole), flow=flow_of(whole)
            )
            self._look_soon()
        for delivery in deliveries:
            self._let_go(delivery, whole)

    def _let_go(self, delivery: Delivery, frame: bytes) -> None:
        at, corrupt_bit, marked, _ = delivery
        sent = mark_frame(frame) if marked else frame
        if corrupt_bit is not None:
            sent = flip_bit(sent, corrupt_bit)
        if not self._loop.hold(at, len(sent), self._send, sent):
            self._direction.refused += 1
            self._loop.warn(
                f"{self._direction.name}: more packets are on their way than this machine may hold; "
                "they are dropped: lower rate or delay"
            )

    def _look_soon(self) -> None:
        """See to it that what waits in the model is fetched when it is due."""
        at = self._direction.model.next_at()
        if at is not None and (self._look_at is None or at < self._look_at):
            self._look_at = at
            self._loop.hold(at, 0, self._look, at)

    def _look(self, at: Instant) -> None:
        if at != self._look_at:
            return
        self._look_at = None
        for delivery in self._direction.model.advance(time.monotonic_ns()):
            assert isinstance(delivery.item, bytes)
            self._let_go(delivery, delivery.item)
        self._look_soon()

    def _send(self, frame: bytes) -> None:
        try:
            self._target.send(frame)
        except OSError as error:
            self._direction.unsendable += 1
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS, errno.EMSGSIZE):
                self._on_socket_error(error, self._target)

    def _examine(self, frame: bytearray) -> None:
        self._to_examine -= 1
        if not has_unfinished_checksum(frame):
            return
        self._direction.unchecksummed += 1
        # One in 65,535 good checksums looks like it; two in a hundred do not.
        if self._direction.unchecksummed == 2:
            self._loop.warn(
                f"{self._source_name}: packets come without checksum, which the sender leaves to a network "
                "card; the receiver will drop them: run `ethtool -K INTERFACE tx off` on the sender's "
                "interface"
            )

    def _on_oversized(self, size: int) -> None:
        self._direction.oversized += 1
        self._loop.warn(
            f"{self._source_name}: a frame of {size} bytes is longer than the MTU allows: the sender's "
            "offload hands over whole bursts, which the link takes for one packet and cannot deliver; "
            "run `ethtool -K INTERFACE tx-udp-segmentation off tso off gso off` on the sender's interface"
        )

    def _on_socket_error(self, error: OSError, where: socket.socket) -> None:
        # An interface that is down says so once, and works again when it is up; one that is gone never does.
        try:
            exists = bool(where.getsockname()[0]) and where.getsockname()[0] in _interfaces()
        except OSError:
            exists = False
        if not exists:
            self._loop.warn(f"an interface of the relay is gone ({error.strerror}); the relay ends")
            self._loop.stop()


def _interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}
