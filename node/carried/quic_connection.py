"""A connection of aioquic, under the face of a flow's connection."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from node.carrier import UNPROVEN
from node.protocol.datagrams import SocketAddress
from node.protocol.errors import LocalProtocolError
from node.protocol.events import (
    ConnectionClosed,
    ConnectionEstablished,
    Event,
    SendingStopped,
    StreamAcknowledged,
    StreamDataReceived,
    StreamReset,
)
from node.protocol.time import MICROSECOND, SECOND, Duration, Instant

#: A timer in float seconds is met for sure so much later.
_ROUNDING: Duration = MICROSECOND


class Owner(Protocol):
    """The endpoint of the connection."""

    def wake(self, connection: QuicConnection) -> None:
        """Note that a connection may have something to send."""
        ...

    def report(self, connection: QuicConnection, event: Event) -> None:
        """Queue an event."""
        ...

    def know(self, connection_id: bytes, connection: QuicConnection | None) -> None:
        """Route datagrams to this ID to a connection; None: to no connection any more."""
        ...

    def chance(self) -> AbstractContextManager[None]:
        """Have aioquic work with the endpoint's chance."""
        ...


@dataclass(frozen=True, slots=True)
class QuicStatistics:
    """What aioquic knows: bytes and ns."""

    congestion: str
    packets_sent: int
    packets_received: int
    packets_lost: int
    #: aioquic does not count what it sends again: as many as were lost, at most.
    retransmitted_packets: int
    bytes_sent: int
    bytes_received: int
    smoothed_rtt: Duration
    rttvar: Duration
    min_rtt: Duration
    congestion_window: int
    bytes_in_flight: int
    datagram_size: int


class QuicConnection:
    """One connection of aioquic under the face of a flow's connection."""

    multiplexed = True

    def __init__(self, inner: Any, endpoint: Owner, *, initiator: bool, settings: Mapping[str, Any]) -> None:
        self.initiator = initiator
        self.peer_address = UNPROVEN
        self.first_id: bytes = inner.host_cid
        #: Whether aioquic has forgotten it.
        self.gone = False
        self._inner = inner
        self._endpoint = endpoint
        self._congestion = str(settings.get("congestion", "cubic"))
        self._established = False
        self._closed = False
        self._opened = 0
        self._in: dict[int, bytearray] = {}
        self._ended: set[int] = set()
        self._lost = 0
        self._packets_received = self._bytes_received = self._bytes_sent = 0
        self._count_losses()

    # What flows call.

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self._closed

    @property
    def writable(self) -> bool:
        """Whether streams can be opened and written."""
        return self._established and not self._closed

    def may_open_stream(self) -> bool:
        """Return whether the peer allows one more stream; aioquic itself would let it wait."""
        return self.writable and self._opened < self._inner._remote_max_streams_bidi  # noqa: SLF001

    def open_stream(self) -> int:
        """Open a stream and return its id (LocalProtocolError: none is allowed now)."""
        if not self.may_open_stream():
            raise LocalProtocolError("the peer allows no more streams for now")
        stream_id: int = self._inner.get_next_available_stream_id()
        with self._endpoint.chance():  # it makes the stream
            self._inner.send_stream_data(stream_id, b"")
        self._opened += 1
        return stream_id

    def write(self, stream_id: int, data: bytes | bytearray | memoryview, *, end: bool = False) -> None:
        """Append data, and the end if ``end`` (LocalProtocolError: over, or ended)."""
        if self._closed:
            raise LocalProtocolError("the QUIC connection is closed")
        try:
            self._inner.send_stream_data(stream_id, bytes(data), end_stream=end)
        except (AssertionError, ValueError) as error:
            raise LocalProtocolError(f"stream {stream_id} takes no data: {error}") from error
        if end:
            self._ended.add(stream_id)
        self._endpoint.wake(self)

    def read(self, stream_id: int) -> bytearray:
        """Return what has arrived in order and was not read yet."""
        return self._in.pop(stream_id, bytearray())

    def backlog(self, stream_id: int) -> int:
        """Return how many written bytes of a stream are not acknowledged yet."""
        stream = self._inner._streams.get(stream_id)  # noqa: SLF001 - aioquic tells nobody
        return len(stream.sender._buffer) if stream is not None else 0  # noqa: SLF001

    def send_message(
        self, data: bytes | bytearray | memoryview, deadline: Instant | None = None, *, now: Instant
    ) -> int:
        """Raise LocalProtocolError: QUIC has no messages."""
        raise LocalProtocolError("QUIC has no messages")

    def windows(self, stream_id: int) -> Any:
        """Raise LocalProtocolError: aioquic does not show them."""
        raise LocalProtocolError("aioquic shows no windows as byte ranges")

    def rtt_quantiles(self, ranks: Iterable[tuple[str, int]]) -> dict[str, Duration]:
        """Return nothing: aioquic shows no single round trips."""
        return {}

    def statistics(self) -> QuicStatistics:
        """Return its counters and estimates; aioquic keeps them to itself."""
        inner, loss = self._inner, self._inner._loss  # noqa: SLF001
        least = loss._rtt_min  # noqa: SLF001
        return QuicStatistics(
            congestion=self._congestion,
            packets_sent=inner._packet_number,  # noqa: SLF001
            packets_received=self._packets_received,
            packets_lost=self._lost,
            retransmitted_packets=self._lost,
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
            smoothed_rtt=round(loss._rtt_smoothed * SECOND),  # noqa: SLF001
            rttvar=round(loss._rtt_variance * SECOND),  # noqa: SLF001
            min_rtt=round(least * SECOND) if math.isfinite(least) else 0,
            congestion_window=loss.congestion_window,
            bytes_in_flight=loss.bytes_in_flight,
            datagram_size=inner._max_datagram_size,  # noqa: SLF001
        )

    def close(self, code: int = 0, reason: str = "", *, now: Instant) -> None:
        """End it for both sides."""
        if self._closed:
            return
        self._closed = True
        self._inner.close(error_code=code, reason_phrase=reason)
        self._endpoint.report(self, ConnectionClosed(code, reason, remote=False))
        self._endpoint.wake(self)

    # What the endpoint calls.

    def receive(self, datagram: bytes, source: SocketAddress, *, now: Instant) -> None:
        """Take a datagram."""
        self._packets_received += 1
        self._bytes_received += len(datagram)
        self._inner.receive_datagram(datagram, source, now=now / SECOND)

    def handle_timeout(self, *, now: Instant) -> None:
        """Do what is due."""
        self._inner.handle_timer(now=now / SECOND)

    def next_timeout(self) -> Instant | None:
        """Return when that is."""
        timer: float | None = self._inner.get_timer()
        return None if timer is None else int(timer * SECOND) + _ROUNDING

    def datagrams_to_send(self, *, now: Instant) -> list[tuple[bytes, SocketAddress]]:
        """Return what is to be sent now."""
        sent: list[tuple[bytes, SocketAddress]] = self._inner.datagrams_to_send(now=now / SECOND)
        self._bytes_sent += sum(len(datagram) for datagram, _ in sent)
        return sent

    def take_events(self) -> None:
        """Turn what aioquic reports into events of ours."""
        from aioquic.quic import events

        report = self._endpoint.report
        while (event := self._inner.next_event()) is not None:
            match event:
                case events.HandshakeCompleted():
                    self._established = True
                    report(self, ConnectionEstablished(UNPROVEN, self.initiator))
                case events.StreamDataReceived():
                    self._in.setdefault(event.stream_id, bytearray()).extend(event.data)
                    report(self, StreamDataReceived(event.stream_id, ended=event.end_stream))
                    if event.end_stream and event.stream_id in self._ended:
                        # Whoever ends last has everything; aioquic tells nobody of acknowledgements.
                        report(self, StreamAcknowledged(event.stream_id))
                case events.StreamReset():
                    report(self, StreamReset(event.stream_id, event.error_code))
                case events.StopSendingReceived():
                    report(self, SendingStopped(event.stream_id, event.error_code))
                case events.ConnectionIdIssued():
                    self._endpoint.know(event.connection_id, self)
                case events.ConnectionIdRetired():
                    self._endpoint.know(event.connection_id, None)
                case events.ConnectionTerminated():
                    self.gone = True
                    if not self._closed:
                        self._closed = True
                        code, reason = event.error_code, event.reason_phrase
                        report(self, ConnectionClosed(code, f"QUIC: {reason}" if reason else "", remote=True))

    def _count_losses(self) -> None:
        """Count what the congestion controller is told: aioquic counts no losses itself."""
        controller = self._inner._loss._cc  # noqa: SLF001
        told = controller.on_packets_lost

        def on_packets_lost(*, now: float, packets: Any) -> None:
            listed = list(packets)
            self._lost += len(listed)
            told(now=now, packets=listed)

        controller.on_packets_lost = on_packets_lost
