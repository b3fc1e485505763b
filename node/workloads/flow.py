"""One flow at one node: its connection, the header that names it, its side, its progress.

The header is the first thing on the stream that the source opens: two bytes of length, then a JSON
object with ``flow`` (its name), ``workload``, and what the workload's source announces. A target
runs only flows that it was told of, so a header can choose nothing: it must match.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from node.carrier import FlowConnection, FlowStatistics
from node.protocol.endpoint import Endpoint
from node.protocol.events import (
    ConnectionClosed,
    ConnectionEstablished,
    DatagramReceived,
    Event,
    MessageAcknowledged,
    MessageExpired,
    MessageReceived,
    SendingGivenUp,
    SendingStopped,
    StreamAcknowledged,
    StreamDataReceived,
    StreamReset,
)
from node.protocol.identity import Peer
from node.protocol.time import MILLISECOND, SECOND, Duration, Instant
from node.series import Series
from node.workloads.base import (
    QUANTILES,
    Data,
    FlowDatagrams,
    FlowStream,
    Outcome,
    Side,
    WorkloadError,
)

#: Application error codes of our flows (SPEC 10: 0x100 and up).
FLOW_REFUSED = 0x100
FLOW_FAILED = 0x101
FLOW_STOPPED = 0x102

HEADER_LENGTH_BYTES = 2
#: Names and a few numbers: more is not a header of ours.
MAX_HEADER_BYTES = 4096
#: Memory for messages that overtake the header, and what each costs beside its bytes.
MAX_EARLY_BYTES = 16 << 20
EARLY_OVERHEAD_BYTES = 100
#: Flow names become file names: no separator, no leading dot.
FLOW_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
#: What every datagram of a connectionless flow starts with.
DATAGRAM_TAG_BYTES = 8
#: At most one progress event a flow in this time: five a second is a smooth bar.
PROGRESS_INTERVAL = 200 * MILLISECOND


@dataclass(frozen=True, slots=True)
class FlowHeader:
    """What a source says at the beginning of its stream."""

    flow: str
    workload: str
    announcement: Mapping[str, object] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the header's bytes, length first."""
        body = json.dumps({**self.announcement, "flow": self.flow, "workload": self.workload}).encode()
        assert len(body) <= MAX_HEADER_BYTES
        return len(body).to_bytes(HEADER_LENGTH_BYTES, "big") + body


class HeaderReader:
    """Takes the first bytes of a stream until the header is whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        #: Whether its connection is established.
        self.confirmed = False
        #: Whether the stream's end has been seen.
        self.ended = False
        #: Messages that overtook the header: nothing orders them behind it.
        self.early: list[MessageReceived] = []
        #: Other streams that overtook the header, and whether their end has come. Their bytes stay unread,
        #: where the transport's credit bounds them.
        self.others: dict[int, bool] = {}
        self._early_bytes = 0

    def keep(self, event: MessageReceived) -> None:
        """Keep a message until the header says what flow it is of.

        Raises:
            WorkloadError: there are too many.
        """
        self._early_bytes += len(event.data) + EARLY_OVERHEAD_BYTES
        if self._early_bytes > MAX_EARLY_BYTES:
            raise WorkloadError("too many messages before the flow header")
        self.early.append(event)

    def receive(self, data: Data, *, ended: bool) -> tuple[FlowHeader, bytes] | None:
        """Return the header and the bytes behind it, or None until it is whole.

        Raises:
            WorkloadError: this is no header of ours.
        """
        self._buffer += data
        self.ended = self.ended or ended
        size = int.from_bytes(self._buffer[:HEADER_LENGTH_BYTES], "big")
        if size > MAX_HEADER_BYTES:
            raise WorkloadError(f"flow header of {size} bytes, at most {MAX_HEADER_BYTES} are allowed")
        end = HEADER_LENGTH_BYTES + size
        if len(self._buffer) < max(end, HEADER_LENGTH_BYTES):
            if self.ended:
                raise WorkloadError("the stream ended inside the flow header")
            return None
        return _parse(bytes(self._buffer[HEADER_LENGTH_BYTES:end])), bytes(self._buffer[end:])


def _parse(body: bytes) -> FlowHeader:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise WorkloadError("flow header is not JSON") from None
    if not isinstance(fields, dict):
        raise WorkloadError("flow header is not a JSON object")
    flow, workload = fields.pop("flow", None), fields.pop("workload", None)
    if not isinstance(flow, str) or not isinstance(workload, str):
        raise WorkloadError("flow header lacks flow or workload")
    return FlowHeader(flow=check_flow_name(flow), workload=workload, announcement=fields)


def check_flow_name(name: object) -> str:
    """Return a flow's name if it is one.

    Raises:
        WorkloadError: it is not a string of letters, digits, ``_``, ``.`` and ``-``.
    """
    if not isinstance(name, str) or FLOW_NAME.fullmatch(name) is None:
        raise WorkloadError(
            f"flow: found {name!r:.120}, must be 1 to 100 letters, digits, '_', '.' or '-', "
            "and begin with a letter or digit"
        )
    return name


class Flow:
    """A flow's state at one node, from its start to its outcome.

    Args:
        make_side: makes its side: at once, and anew for each further connection (WorkloadError: it cannot).
        configuration: settings of its connections.
        series: of a flow of several connections.
    """

    def __init__(
        self,
        name: str,
        *,
        workload: str,
        role: str,
        peer: str | None,
        make_side: Callable[[], Side],
        configuration: Any = None,  # each transport has its own
        series: Series | None = None,
    ) -> None:
        self.name = name
        self.workload = workload
        self.role = role
        #: The other node's name; None: a target that takes any.
        self.peer = peer
        self._make_side = make_side
        self.side = make_side()
        #: Whether the side was of a connection that is over, and the next one needs another.
        self._spent = False
        self.connection: FlowConnection | None = None
        #: Whether the connection is the peer's own beyond doubt.
        self._confirmed = False
        #: Settings of its connections.
        self.configuration = configuration
        #: What a target told its endpoint to expect, until the connection is there.
        self.awaited: Any = None
        self.started_at: Instant | None = None
        #: Its connections, if they are several; the one under way began at ``_attached_at``.
        self._series = series
        self._attached_at: Instant = 0
        self._handshake: Duration | None = None
        self._early = False
        self._stream: FlowStream | None = None
        self._next_progress: Instant = 0
        self._reported_bytes = 0
        self._reported_at: Instant = 0

    @property
    def outcome(self) -> Outcome | None:
        """How the flow ended here; None while it goes on."""
        return self.side.outcome

    @property
    def stream_id(self) -> int | None:
        """The flow's stream, once there is one."""
        return self._stream.stream_id if self._stream is not None else None

    def attach(self, connection: FlowConnection, *, confirmed: bool = True, now: Instant) -> None:
        """Bind the flow to its connection; with the first of them the flow's clock starts.

        ``confirmed``: whether a target's connection is its peer's own beyond doubt (SPEC 15-6).
        """
        self.connection, self._confirmed = connection, confirmed
        self._attached_at = now
        if self.started_at is None:
            self._start_clock(now)

    def on_established(self, event: ConnectionEstablished, *, now: Instant) -> None:
        """Note that the handshake is through."""
        self._confirmed = True
        self._handshake = now - self._attached_at
        self._early = event.early_accepted

    @property
    def provisional(self) -> bool:
        """Whether all that it has came early, perhaps in a copy: then it comes again (SPEC 15-6)."""
        return self.connection is not None and not self._confirmed

    def awaits(self, *, confirmed: bool) -> bool:
        """Return whether a connection may come; one that is confirmed takes the place of one that is not."""
        return self.role == "target" and (self.connection is None or (confirmed and self.provisional))

    def withdraw(self) -> None:
        """Forget what came early: its connection was not the peer's own."""
        self.side.withdraw()
        self._detach()
        self._reported_bytes = self._moved()[0]

    def _detach(self) -> None:
        """Be without a connection until the next one; ``renew`` makes the side for it."""
        self.connection = self._stream = None
        self.side, self._spent = Side(), True

    def next_connection(self, *, now: Instant) -> FlowConnection | None:
        """Make ready for the next connection, if one is to follow the one that ended well.

        Returns:
            The connection that is over; None: no other follows.
        """
        series, outcome, connection = self._series, self.outcome, self.connection
        if series is None or outcome is None or connection is None or not outcome.ok or not series.more:
            return None
        self._close_account(series, outcome, connection, now)
        self._detach()
        return connection

    def renew(self) -> None:
        """Make the side of the next connection (WorkloadError: it cannot be made any more)."""
        if self._spent:
            self.side, self._spent = self._make_side(), False

    def _close_account(
        self, series: Series, outcome: Outcome, connection: FlowConnection, now: Instant
    ) -> None:
        series.take(
            outcome,
            statistics_data(connection.statistics()),
            handshake=self._handshake,
            lasted=now - self._attached_at,
            early=self._early,
        )
        self._handshake, self._early = None, False

    @property
    def resumed(self) -> bool:
        """Whether this is not the first of its connections."""
        return self._series is not None and self._series.done > 0

    def begin_datagrams(self, datagrams: FlowDatagrams, *, now: Instant) -> None:
        """Let the side of a connectionless flow begin."""
        self._start_clock(now)
        self.side.begin(datagrams, now=now)

    def _start_clock(self, now: Instant) -> None:
        self.started_at = self._reported_at = now
        self._next_progress = now + PROGRESS_INTERVAL

    def start_source(self, *, now: Instant) -> None:
        """Open the stream, send the header, let the side begin."""
        assert self.connection is not None
        self._stream = FlowStream(self.connection, self.connection.open_stream())
        header = FlowHeader(self.name, self.workload, self.side.announcement())
        self._stream.write(header.encode())
        self.side.start(self._stream, now=now)

    def start_target(
        self, header: FlowHeader, stream_id: int, early: list[MessageReceived], *, now: Instant
    ) -> None:
        """Check the header, let the side begin, and give it the messages that overtook the header."""
        assert self.connection is not None
        self.renew()
        self.side.accept(header.announcement)
        self._stream = FlowStream(self.connection, stream_id)
        self.side.start(self._stream, now=now)
        for event in early:
            self.side.receive_message(event.data, now=now)

    def receive_others(self, streams: Mapping[int, bool], *, now: Instant) -> None:
        """Give the side what came on other streams than the flow's own: id → whether it has ended."""
        if not self.side.multiplexed:
            return
        assert self.connection is not None
        assert self._stream is not None
        for stream_id, ended in streams.items():
            data = self.connection.read(stream_id)
            self.side.receive_other(self._stream.other(stream_id), data, ended=ended, now=now)

    def handle_event(self, event: Event, *, now: Instant) -> None:
        """Pass what happened on the flow's stream to its side.

        Raises:
            WorkloadError: the flow has failed.
        """
        if isinstance(event, ConnectionClosed):
            raise WorkloadError(describe_close(event))
        if isinstance(event, MessageReceived):
            self.side.receive_message(event.data, now=now)
        elif isinstance(event, MessageAcknowledged | MessageExpired):
            self.side.on_message_over(delivered=isinstance(event, MessageAcknowledged), now=now)
        if self._stream is None:
            return
        stream_id = getattr(event, "stream_id", None)
        if stream_id != self._stream.stream_id:
            if isinstance(event, StreamDataReceived):
                self.receive_others({event.stream_id: event.ended}, now=now)
            if not (self.side.multiplexed and isinstance(event, StreamReset | SendingStopped)):
                return
        if isinstance(event, StreamDataReceived):
            assert self.connection is not None
            self.side.receive(self.connection.read(event.stream_id), ended=event.ended, now=now)
        elif isinstance(event, StreamAcknowledged):
            self.side.on_acknowledged(now=now)
        elif isinstance(event, SendingGivenUp):
            raise WorkloadError(
                "data was lost that neither repair brought back nor 'fec-arq: never' lets repeat"
            )
        elif isinstance(event, StreamReset | SendingStopped):
            raise WorkloadError(f"the peer gave up the stream with code {event.code:#x}")

    def fail(self, error: str) -> None:
        """End the flow with an error, unless it is over."""
        if self.side.outcome is None:
            self.side.abort()
            self.side.outcome = Outcome(ok=False, error=error, bytes=self.side.progress()[0])

    def progress(self, *, now: Instant) -> dict[str, object] | None:
        """Return a progress event's data, if it is time for one."""
        if self.started_at is None or now < self._next_progress:
            return None
        self._next_progress = now + PROGRESS_INTERVAL
        moved, total = self._moved()
        if moved == self._reported_bytes:
            return None
        elapsed = now - self._reported_at
        rate = (moved - self._reported_bytes) * 8 * SECOND // elapsed if elapsed > 0 else 0
        self._reported_bytes, self._reported_at = moved, now
        figures = {
            "flow": self.name,
            "role": self.role,
            "bytes": moved,
            "bytes_total": total,
            "bits_per_second": rate,
        }
        if self.connection is None:
            return figures
        statistics = self.connection.statistics()
        return {
            **figures,
            "rtt_ms": statistics.smoothed_rtt / MILLISECOND,
            "congestion_window": statistics.congestion_window,
            "packets_sent": statistics.packets_sent,
            "packets_lost": statistics.packets_lost,
            "retransmitted_packets": statistics.retransmitted_packets,
        }

    def _moved(self) -> tuple[int, int | None]:
        """Return payload bytes moved on all connections, and how many there will be (None: unknown)."""
        moved, total = self.side.progress()
        if self._series is None:
            return moved, total
        return self._series.bytes + moved, None if total is None else total * self._series.count

    def next_progress(self) -> Instant:
        """Return the earliest time at which ``progress`` may have something to say."""
        return self._next_progress

    def result(self, *, now: Instant) -> dict[str, object]:
        """Return the data of the flow's last event."""
        outcome = self.side.outcome
        assert outcome is not None
        statistics: dict[str, object] = {}
        if self.connection is not None:
            statistics = statistics_data(self.connection.statistics())
            statistics["rtt_quantiles"] = self.connection.rtt_quantiles(QUANTILES)
        if self._series is not None:
            if self.connection is not None:
                self._close_account(self._series, outcome, self.connection, now)
            outcome, statistics = self._series.outcome(outcome), self._series.statistics(statistics)
        seconds = (now - self.started_at) / SECOND if self.started_at is not None else 0.0
        return {
            "flow": self.name,
            "workload": self.workload,
            "role": self.role,
            "peer": self.peer,
            "ok": outcome.ok,
            "error": outcome.error,
            "bytes": outcome.bytes,
            "sha256": outcome.sha256,
            "seconds": seconds,
            "bits_per_second": outcome.bytes * 8 / seconds if seconds > 0 else 0.0,
            "results": dict(outcome.results),
            "statistics": statistics,
        }


class DatagramFlows:
    """The connectionless flows of a node: which of them a datagram belongs to.

    Every datagram of a flow starts with the flow's tag, eight bytes of SHA-256 over its name. Who sent it
    is proven by its seal, so a flow hears its peer only.

    Args:
        endpoint: what sends.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._flows: dict[bytes, tuple[Flow, int]] = {}

    def add(self, flow: Flow, peer: Peer) -> FlowDatagrams:
        """Take a flow, and return what its side sends with."""
        tag = _tag(flow.name)
        self._flows[tag] = (flow, peer.address)
        return FlowDatagrams(
            lambda data: self._endpoint.send_datagram(peer, tag + data),
            lambda: self._endpoint.duplicates_of(peer),
        )

    def remove(self, flow: Flow) -> None:
        """Forget a flow, if it is one of these."""
        self._flows.pop(_tag(flow.name), None)

    def find(self, event: DatagramReceived) -> tuple[Flow, memoryview] | None:
        """Return the flow a datagram is for, and what is in it; None: nobody waits for it here."""
        flow, address = self._flows.get(event.data[:DATAGRAM_TAG_BYTES], (None, 0))
        if flow is None or address != event.source_address or len(event.data) == DATAGRAM_TAG_BYTES:
            return None
        return flow, memoryview(event.data)[DATAGRAM_TAG_BYTES:]

    def running(self) -> list[Flow]:
        """Return the flows."""
        return [flow for flow, _ in self._flows.values()]


def _tag(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:DATAGRAM_TAG_BYTES]


def describe_close(event: ConnectionClosed) -> str:
    """Return in words why a connection ended before its flow."""
    who = "the peer" if event.remote else "this node"
    return f"{who} closed the connection with code {event.code:#x}: {event.reason or 'no reason given'}"


def closed_data(event: ConnectionClosed, peer: str | None, peer_address: int) -> dict[str, object]:
    """Return the data of the event that tells of a connection's end."""
    return {
        "peer": peer,
        "peer_address": f"{peer_address:016x}",
        "code": event.code,
        "reason": event.reason,
        "remote": event.remote,
    }


def statistics_data(statistics: FlowStatistics) -> dict[str, object]:
    """Return a connection's statistics, JSON-able, by the names of their dataclass's fields."""
    record: Any = statistics  # each transport's own dataclass
    return {found.name: getattr(record, found.name) for found in fields(record)}
