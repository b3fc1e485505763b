"""What flows need of a transport: the face of Strait's endpoint that every other transport shows as well.

Strait's ``Endpoint`` and ``Connection`` are these by their structure and know nothing of it. Another
transport (``node.transports``) that is written to them runs the same workloads in the same ``NodeCore``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from node.protocol.datagrams import Burst, Transmit
from node.protocol.events import DatagramReceived, Event
from node.protocol.identity import Peer
from node.protocol.time import Duration, Instant

#: ``peer_address`` of a connection whose transport proves nobody's identity.
UNPROVEN = 0


class FlowStatistics(Protocol):
    """What every transport counts; each counts more, as fields of a dataclass of its own."""

    @property
    def packets_sent(self) -> int: ...
    @property
    def packets_lost(self) -> int: ...
    @property
    def retransmitted_packets(self) -> int: ...
    @property
    def smoothed_rtt(self) -> Duration: ...
    @property
    def min_rtt(self) -> Duration: ...
    @property
    def congestion_window(self) -> int: ...


class Streams(Protocol):
    """The streams of a connection."""

    @property
    def multiplexed(self) -> bool:
        """Whether there is more than one."""
        ...

    def open_stream(self) -> int:
        """Open a bidirectional stream and return its id (LocalProtocolError: none is allowed now)."""
        ...

    def may_open_stream(self) -> bool:
        """Return whether ``open_stream`` would succeed now."""
        ...

    def write(self, stream_id: int, data: bytes | bytearray | memoryview, *, end: bool = False) -> None:
        """Append data, kept by reference, and the stream's end if ``end`` (LocalProtocolError)."""
        ...

    def read(self, stream_id: int) -> bytearray:
        """Return what has arrived in order and was not read yet."""
        ...

    def backlog(self, stream_id: int) -> int:
        """Return how many written bytes still wait or are on their way."""
        ...

    # Any: each transport's own, if it has windows at all.
    def windows(self, stream_id: int) -> Any:
        """Return the windows of a stream (LocalProtocolError: this transport shows none)."""
        ...


class FlowConnection(Streams, Protocol):
    """A connection that carries a flow."""

    #: Whether we opened it.
    initiator: bool
    #: The peer's 64-bit node address, or UNPROVEN.
    peer_address: int

    @property
    def closed(self) -> bool:
        """Whether it is over: nothing can be written any more."""
        ...

    @property
    def writable(self) -> bool:
        """Whether streams can be opened and written."""
        ...

    def send_message(
        self, data: bytes | bytearray | memoryview, deadline: Instant | None = None, *, now: Instant
    ) -> int:
        """Send a message beside the streams (LocalProtocolError: this transport has none)."""
        ...

    def rtt_quantiles(self, ranks: Iterable[tuple[str, int]]) -> dict[str, Duration]:
        """Return quantiles of the round trips measured (name, thousandths), in ns; empty: none is known."""
        ...

    def statistics(self) -> FlowStatistics:
        """Return its counters and estimates."""
        ...

    def close(self, code: int = 0, reason: str = "", *, now: Instant) -> None:
        """End it; may be called twice."""
        ...


class Driven(Protocol):
    """What a driver gives time and datagrams to, and takes datagrams from."""

    def receive(self, burst: Burst, *, now: Instant) -> None:
        """Take a received burst of datagrams."""
        ...

    def handle_timeout(self, *, now: Instant) -> None:
        """Do what is due."""
        ...

    def transmit(self, *, now: Instant) -> Transmit | None:
        """Return the next burst to send, or None."""
        ...

    def next_timeout(self) -> Instant | None:
        """Return when to call ``handle_timeout`` at the latest."""
        ...


class FlowEndpoint(Driven, Protocol):
    """All connections of one transport at one node."""

    # Any: the settings of a connection, and the connection, are each transport's own.
    def connect(self, peer: Peer, *, configuration: Any = None, now: Instant) -> Any:
        """Begin a connection; ConnectionEstablished or ConnectionClosed follows."""
        ...

    def expect(self, peer_address: int, configuration: Any) -> None:
        """Take the next connection from this peer with settings of its own."""
        ...

    def expect_no_more(self, peer_address: int, configuration: Any) -> None:
        """Take back one ``expect``."""
        ...

    def close(self, *, now: Instant) -> None:
        """Close all connections."""
        ...

    def next_event(self) -> tuple[Any, Event] | None:
        """Return the next event and its connection, or None."""
        ...

    def next_datagram(self) -> DatagramReceived | None:
        """Return the next connectionless datagram, or None."""
        ...

    @property
    def connections(self) -> Iterable[Any]:
        """All connections that are not forgotten yet."""
        ...


class Carrier(FlowEndpoint, Protocol):
    """The endpoint of another transport."""

    def configure(self, workload: str, settings: Mapping[str, object]) -> Any:
        """Return what ``connect`` and ``expect`` take, of a flow's transport settings.

        Raises:
            LocalProtocolError: this transport cannot do that; the message says what it can.
        """
        ...
