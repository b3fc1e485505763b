"""The contract of a workload: two sides of one flow over one bidirectional stream, without I/O.

A flow is one connection. Its source opens a stream, sends the flow header (``flow.py``) and then
whatever its workload wants; the target answers on the same stream. NodeCore calls a side's
methods when something happened, and looks at ``outcome`` after each: once it is set, the side is
over. A side raises ``WorkloadError`` to fail the flow with a message for the user.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeAlias

from node.protocol.connection import Connection
from node.protocol.time import Instant
from node.registry import Registry

#: Bytes: what the transport takes and gives.
Data: TypeAlias = bytes | bytearray | memoryview
#: Largest report a target may send, in bytes: a few numbers and an error text.
MAX_REPORT_BYTES = 8192
#: Largest number of bytes a flow may announce: more is a mistake or an attack.
MAX_FLOW_BYTES = 1 << 44


class WorkloadError(Exception):
    """A flow cannot start or go on; the message says what was found and what is allowed."""


class ByteSource(Protocol):
    """Bytes to send, given by the driver: a file, or generated."""

    #: How many bytes there are.
    size: int

    def read(self, offset: int, size: int) -> memoryview:
        """Return the ``size`` bytes from ``offset`` on; they never change afterwards."""
        ...

    def close(self) -> None:
        """Nothing more will be read; views already given stay valid."""
        ...


class ByteSink(Protocol):
    """Where received bytes go, given by the driver: a file, or nowhere.

    All methods raise ``WorkloadError`` when they cannot (a full disk).
    """

    def write(self, data: Data) -> None:
        """Take the next bytes, in order."""
        ...

    def finish(self) -> None:
        """All bytes are there: make them last."""
        ...

    def abort(self) -> None:
        """The flow failed: leave nothing behind. Never raises."""
        ...


#: Makes a source or sink of a flow's options, to which ``flow`` (its name) has been added.
SourceFactory: TypeAlias = Callable[[Mapping[str, object]], ByteSource]
SinkFactory: TypeAlias = Callable[[Mapping[str, object]], ByteSink]


@dataclass(frozen=True, slots=True)
class Resources:
    """What the driver gives to workloads."""

    source_of: SourceFactory
    sink_of: SinkFactory


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a side ended."""

    ok: bool
    #: Why not, when not ok.
    error: str = ""
    #: Payload bytes moved.
    bytes: int = 0
    #: SHA-256 of the payload, in hex; empty if the side failed before its end.
    sha256: str = ""
    #: Whatever else the workload measured, JSON-able.
    results: Mapping[str, object] = field(default_factory=dict)


class FlowStream:
    """The one stream of a flow, as its sides see it."""

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self.connection = connection
        self.stream_id = stream_id

    def write(self, data: Data, *, end: bool = False) -> None:
        """Send ``data`` (kept by reference: it must not change), and the stream's end if ``end``."""
        chunk = data if isinstance(data, bytes | memoryview) else bytes(data)
        self.connection.write(self.stream_id, chunk, end=end)

    def backlog(self) -> int:
        """Return how many written bytes wait in the transport."""
        return self.connection.backlog(self.stream_id)


class Side:
    """One side of a flow; the methods do nothing unless a workload says otherwise."""

    outcome: Outcome | None = None

    def announcement(self) -> Mapping[str, object]:
        """Source: return what the flow header tells the target, JSON-able."""
        return {}

    def accept(self, announcement: Mapping[str, object]) -> None:
        """Target: check what the flow header says. Raises WorkloadError to refuse the flow."""

    def start(self, stream: FlowStream, *, now: Instant) -> None:
        """Begin: the stream is open, and the header sent or received."""

    def receive(self, data: Data, *, ended: bool, now: Instant) -> None:
        """Take the next bytes of the stream; ``ended``: they are the last."""

    def on_writable(self, *, now: Instant) -> None:
        """Write more: the transport has little left to send."""

    def on_acknowledged(self, *, now: Instant) -> None:
        """Note that all that was written, and the end, has arrived."""

    def handle_timeout(self, *, now: Instant) -> None:
        """Do what ``next_timeout`` was about."""

    def next_timeout(self) -> Instant | None:
        """Return when to call ``handle_timeout``."""
        return None

    def progress(self) -> tuple[int, int | None]:
        """Return payload bytes moved so far, and how many there will be (None: unknown)."""
        return 0, None

    def abort(self) -> None:
        """Let go of sources and sinks: the flow ended without this side's doing."""


class Workload(Protocol):
    """A kind of flow: makes its two sides of options that both ends are given alike.

    Both methods raise ``WorkloadError`` when an option is unknown or out of range.
    """

    name: ClassVar[str]

    @staticmethod
    def source(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the side that opens the connection."""
        ...

    @staticmethod
    def target(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the side that waits for it."""
        ...


WORKLOADS: Registry[type[Workload]] = Registry("workload", "node.workloads")


def whole(options: Mapping[str, object], name: str, *, default: int, low: int, high: int) -> int:
    """Return the option ``name`` as a whole number from ``low`` to ``high``."""
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise WorkloadError(f"{name}: found {value!r}, must be a whole number from {low} to {high}")
    return value


def check_names(options: Mapping[str, object], allowed: tuple[str, ...]) -> None:
    """Refuse options that a workload does not know. ``flow`` is always there."""
    for name in options:
        if name != "flow" and name not in allowed:
            raise WorkloadError(f"options: found {name!r}, use one of {', '.join(allowed)}")


class Report:
    """What a target tells its source at the end: bytes and SHA-256, as a line of JSON."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @staticmethod
    def encode(*, size: int, sha256: str) -> bytes:
        """Return the report's bytes."""
        return json.dumps({"bytes": size, "sha256": sha256}).encode()

    def receive(self, data: Data) -> None:
        """Take the report's next bytes."""
        if len(self._buffer) + len(data) > MAX_REPORT_BYTES:
            raise WorkloadError(f"the target's report is longer than {MAX_REPORT_BYTES} bytes")
        self._buffer += data

    def outcome(self, *, size: int, sha256: str) -> Outcome:
        """Compare the whole report with what the source sent, and return the source's outcome."""
        try:
            report = json.loads(self._buffer)
        except (ValueError, RecursionError):
            return Outcome(ok=False, error="the target's report is not JSON", bytes=size)
        if report != {"bytes": size, "sha256": sha256}:
            error = f"the target has {report!r}, sent were {size} bytes with SHA-256 {sha256}"
            return Outcome(ok=False, error=error, bytes=size, sha256=sha256)
        return Outcome(ok=True, bytes=size, sha256=sha256)


class Digest:
    """SHA-256 and count of a payload, taken on the way."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def update(self, data: Data) -> None:
        """Add the next bytes."""
        self._hash.update(data)
        self.size += len(data)

    def hexdigest(self) -> str:
        """Return the digest so far, in hex."""
        return self._hash.hexdigest()
