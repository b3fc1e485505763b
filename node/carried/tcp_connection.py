"""A TCP socket, under the face of a flow's connection: the end of its stream is the socket's half-close."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from node.carrier import UNPROVEN
from node.protocol.errors import LocalProtocolError
from node.protocol.events import (
    ConnectionClosed,
    ConnectionEstablished,
    Event,
    StreamAcknowledged,
    StreamDataReceived,
)
from node.protocol.time import MICROSECOND, Duration, Instant

DEFAULT_CONTROLLER = "cubic"
#: The one stream.
STREAM = 0
READ_BYTES = 1 << 18
#: Reads in one wake-up, so that one connection starves no other.
READS_PER_WAKE = 8
#: Unacknowledged data, or a SYN, ends the connection after so many ms: as long as Strait's idle_timeout.
USER_TIMEOUT_MS = 30_000
#: ``struct tcp_info`` of Linux 4.19 and newer, up to ``tcpi_reord_seen``; older kernels give less.
_TCP_INFO = struct.Struct("=8B24I4Q6I4Q2I2Q2I")


class Watcher(Protocol):
    """Who calls back when a socket is ready: an asyncio event loop."""

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> Any: ...
    def remove_reader(self, fd: Any) -> bool: ...
    def add_writer(self, fd: Any, callback: Callable[..., Any], *args: Any) -> Any: ...
    def remove_writer(self, fd: Any) -> bool: ...


class Owner(Protocol):
    """The endpoint of the connection."""

    @property
    def watcher(self) -> Watcher:
        """The event loop."""
        ...

    def report(self, connection: TcpConnection, event: Event) -> None:
        """Queue an event."""
        ...

    def news(self) -> None:
        """Let the driver look."""
        ...

    def keep(self, connection: TcpConnection) -> None:
        """Count a connection among the open ones."""
        ...

    def forget(self, connection: TcpConnection) -> None:
        """Take a connection out."""
        ...


@dataclass(frozen=True, slots=True)
class TcpStatistics:
    """What TCP_INFO says: bytes, ns, bytes a second."""

    congestion: str = DEFAULT_CONTROLLER
    packets_sent: int = 0
    packets_received: int = 0
    #: Segments sent again: the kernel counts no losses.
    packets_lost: int = 0
    retransmitted_packets: int = 0
    retransmitted_bytes: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    bytes_acked: int = 0
    smoothed_rtt: Duration = 0
    rttvar: Duration = 0
    min_rtt: Duration = 0
    congestion_window: int = 0
    #: None: still in slow start for the first time.
    ssthresh: int | None = None
    segment_size: int = 0
    pacing_rate: int = 0
    delivery_rate: int = 0
    #: Time with data in flight, and what kept the sender from sending then.
    busy_time: Duration = 0
    limited_time: Mapping[str, Duration] = field(default_factory=dict)
    ecn_ce: int = 0


class TcpConnection:
    """One socket.

    Args:
        sock: connected, connecting or accepted.
        endpoint: whose it is.
        initiator: whether we opened it.
        settings: ``congestion``.
    """

    multiplexed = False

    def __init__(
        self, sock: socket.socket, endpoint: Owner, *, initiator: bool, settings: Mapping[str, Any]
    ) -> None:
        self.initiator = initiator
        self.peer_address = UNPROVEN
        self._socket = sock
        self._endpoint = endpoint
        self._congestion = str(settings.get("congestion", DEFAULT_CONTROLLER))
        self._established = False
        self._closed = False
        self._opened = False
        self._in = bytearray()
        self._announced = False
        self._peer_ended = False
        self._out: deque[memoryview] = deque()
        self._out_bytes = 0
        self._end_written = False
        self._end_sent = False
        self._watched = False
        self._last = TcpStatistics(congestion=self._congestion)

    def begin(self, error: int) -> None:
        """Set the socket up; ``error``: what connect said."""
        sock = self._socket
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, self._congestion.encode())
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        except OSError as failed:
            error = error or failed.errno or errno.EINVAL
        if error not in (0, errno.EINPROGRESS):
            self._fail(error)
            return
        self._endpoint.keep(self)
        if self.initiator:
            self._watch_writing()
        else:
            self._establish()

    # What flows call.

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self._closed

    @property
    def writable(self) -> bool:
        """Whether the stream can be written."""
        return self._established and not self._closed

    def may_open_stream(self) -> bool:
        """Return whether the one stream is still to be opened."""
        return self.writable and not self._opened

    def open_stream(self) -> int:
        """Return the one stream (LocalProtocolError: it is open already)."""
        if not self.may_open_stream():
            raise LocalProtocolError("a TCP connection has one stream, and it is open")
        self._opened = True
        return STREAM

    def write(self, stream_id: int, data: bytes | bytearray | memoryview, *, end: bool = False) -> None:
        """Queue data, and the end if ``end`` (LocalProtocolError: over, or ended)."""
        if self._closed or self._end_written:
            raise LocalProtocolError("the TCP connection is closed for writing")
        if len(data):
            self._out.append(memoryview(data))
            self._out_bytes += len(data)
        self._end_written = end

    def read(self, stream_id: int) -> bytearray:
        """Return what has arrived and was not read yet."""
        data, self._in = self._in, bytearray()
        self._announced = False
        return data

    def backlog(self, stream_id: int) -> int:
        """Return how many bytes the kernel has not taken yet."""
        return self._out_bytes

    def send_message(
        self, data: bytes | bytearray | memoryview, deadline: Instant | None = None, *, now: Instant
    ) -> int:
        """Raise LocalProtocolError: TCP has no messages."""
        raise LocalProtocolError("TCP has no messages")

    def windows(self, stream_id: int) -> Any:
        """Raise LocalProtocolError: the kernel does not show them."""
        raise LocalProtocolError("the kernel shows no windows of TCP as byte ranges")

    def rtt_quantiles(self, ranks: Iterable[tuple[str, int]]) -> dict[str, Duration]:
        """Return nothing: the kernel shows no single round trips."""
        return {}

    def statistics(self) -> TcpStatistics:
        """Return what TCP_INFO says, or said last."""
        if not self._closed:
            self._last = _statistics(self._socket, self._congestion, self._last)
        return self._last

    def close(self, code: int = 0, reason: str = "", *, now: Instant) -> None:
        """End it: in good order, or with a reset where ``code`` says that something failed."""
        if self._closed:
            return
        self.statistics()
        if code:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.flush()
        self._shut(ConnectionClosed(code, reason, remote=False))

    # What the socket did.

    def flush(self) -> None:
        """Give the kernel what it takes."""
        if not self._established or self._closed:
            return
        out = self._out
        try:
            while out:
                sent = self._socket.send(out[0])
                self._out_bytes -= sent
                if sent < len(out[0]):
                    out[0] = out[0][sent:]
                else:
                    out.popleft()
                # Until the socket has room again: whoever writes more wants to hear of it.
                self._watch_writing()
            if self._end_written and not self._end_sent:
                self._end_sent = True
                self._socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            self._watch_writing()
        except OSError as error:
            self._fail(error.errno or errno.EPIPE)
            return
        self._end_if_done()

    def _on_writable(self) -> None:
        if not self._established:
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self._fail(error)
            else:
                self._establish()
            self._endpoint.news()
            return
        if not self._out:
            self._watched = False
            self._endpoint.watcher.remove_writer(self._socket)
        self.flush()
        self._endpoint.news()

    def _on_readable(self) -> None:
        for _ in range(READS_PER_WAKE):
            try:
                data = self._socket.recv(READ_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                self._fail(error.errno or errno.ECONNRESET)
                break
            self._in += data
            if not data:
                self._peer_ended = True
                self._endpoint.watcher.remove_reader(self._socket)
                break
            if len(data) < READ_BYTES:
                break
        self._announce()
        self._endpoint.news()

    def _announce(self) -> None:
        if self._closed and not self._in:
            return
        if self._peer_ended:
            self._endpoint.report(self, StreamDataReceived(STREAM, ended=True))
            if self._end_sent:  # the peer ends last, when it has everything
                self._endpoint.report(self, StreamAcknowledged(STREAM))
            self._end_if_done()
        elif self._in and not self._announced:
            self._announced = True
            self._endpoint.report(self, StreamDataReceived(STREAM, ended=False))

    def _establish(self) -> None:
        self._established = True
        self._endpoint.watcher.add_reader(self._socket, self._on_readable)
        self._endpoint.report(self, ConnectionEstablished(UNPROVEN, self.initiator))

    def _end_if_done(self) -> None:
        """A responder has nothing to keep the socket for once both halves are over."""
        if self._peer_ended and self._end_sent and not self.initiator and not self._closed:
            self.statistics()
            self._shut(ConnectionClosed(0, "", remote=True))

    def _fail(self, number: int) -> None:
        if not self._closed:
            self._shut(ConnectionClosed(0, f"TCP: {os.strerror(number)}", remote=True))

    def _shut(self, event: ConnectionClosed) -> None:
        self._closed = True
        if self._established or self._watched:
            self._endpoint.watcher.remove_reader(self._socket)
            self._endpoint.watcher.remove_writer(self._socket)
        self._socket.close()
        self._endpoint.forget(self)
        self._endpoint.report(self, event)

    def _watch_writing(self) -> None:
        if not self._watched:
            self._watched = True
            self._endpoint.watcher.add_writer(self._socket, self._on_writable)


def _statistics(sock: socket.socket, congestion: str, last: TcpStatistics) -> TcpStatistics:
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    except OSError:
        return last
    values = _TCP_INFO.unpack(raw.ljust(_TCP_INFO.size, b"\0"))
    mss = values[10]
    rtt, rttvar, ssthresh, cwnd = values[23:27]
    pacing, _, acked, received = values[32:36]
    segments_out, segments_in, _, min_rtt, _, _ = values[36:42]
    delivery_rate, busy, receiver_limited, buffer_limited = values[42:46]
    _, marked, sent, again = values[46:50]
    return TcpStatistics(
        congestion=congestion,
        packets_sent=segments_out,
        packets_received=segments_in,
        packets_lost=values[31],
        retransmitted_packets=values[31],
        retransmitted_bytes=again,
        bytes_sent=sent,
        bytes_received=received,
        bytes_acked=acked,
        smoothed_rtt=rtt * MICROSECOND,
        rttvar=rttvar * MICROSECOND,
        min_rtt=min_rtt * MICROSECOND if min_rtt != 0xFFFF_FFFF else 0,
        congestion_window=cwnd * mss,
        ssthresh=ssthresh * mss if ssthresh < 0x7FFF_FFFF else None,
        segment_size=mss,
        pacing_rate=pacing if pacing != 0xFFFF_FFFF_FFFF_FFFF else 0,
        delivery_rate=delivery_rate,
        busy_time=busy * MICROSECOND,
        limited_time={
            "receive window": receiver_limited * MICROSECOND,
            "send buffer": buffer_limited * MICROSECOND,
        },
        ecn_ce=marked,
    )
