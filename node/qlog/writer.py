"""The qlog files of one node: bounded in bytes (SPEC 16-3), written when the driver has time.

A tracer only appends to a list; encoding and writing happen in ``write``, which whoever drives the node
calls off the path. Nothing here can hurt the node: a full disk ends tracing and is reported once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

from node.protocol.datagrams import SocketAddress
from node.protocol.time import Instant
from node.protocol.trace import ConnectionStateUpdated, TraceEvent
from node.qlog.encoder import Encoder

#: Bytes of one file: some 250,000 packets; viewers choke on more.
FILE_BYTES = 64 << 20
#: Bytes of all files of a node: a trace must not fill a disk.
NODE_BYTES = 1 << 30
#: Connections traced: a flood of INITIATIONs must not fill a directory.
MAX_FILES = 1024
#: Events of one connection that wait to be written; some 300 bytes each, more only where nobody writes.
MAX_WAITING = 200_000
#: Room kept in each file for the record that says why it ends, and what a file needs at least.
_LAST_RECORD_BYTES = 512
_LEAST_BYTES = 2048


class QlogFile:
    """The trace of one connection: what takes its events, and the file they go to."""

    def __init__(self, path: Path, encoder: Encoder, limit: int) -> None:
        self.path = path
        #: Whether nothing more is taken.
        self.over = False
        self._encoder = encoder
        self._limit = limit
        self._size = 0
        self._waiting: deque[tuple[Instant, TraceEvent]] = deque()
        self._dropped_at: Instant | None = None

    def __call__(self, now: Instant, event: TraceEvent) -> None:
        """Take an event; this is the tracer."""
        if self.over:
            return
        self._waiting.append((now, event))
        if len(self._waiting) >= MAX_WAITING:
            self.over, self._dropped_at = True, now
        if type(event) is ConnectionStateUpdated and event.new == "closed":
            self.over = True

    @property
    def waiting(self) -> int:
        """Events that are not written yet."""
        return len(self._waiting)

    def write(self, most: int, room: int) -> int:
        """Encode and write at most ``most`` events, into ``room`` bytes; return the bytes written.

        Raises:
            OSError: the file cannot be written.
        """
        limit = min(self._limit - _LAST_RECORD_BYTES, self._size + room)
        records = [] if self._size else [self._encoder.header()]
        size = self._size + sum(map(len, records))
        waiting = self._waiting
        for _ in range(min(most, len(waiting))):
            now, event = waiting.popleft()
            for record in self._encoder.encode(now, event):
                if size + len(record) > limit:
                    records.append(self._encoder.cut(now, f"the file is full at {size} bytes"))
                    self.over, self._dropped_at = True, None
                    waiting.clear()
                    break
                records.append(record)
                size += len(record)
            if not waiting:
                break
        if self._dropped_at is not None and not waiting:
            records.append(self._encoder.cut(self._dropped_at, "events came faster than they were written"))
            self._dropped_at = None
        data = "".join(records).encode("ascii")
        return self._append(data)

    def cut(self, why: str) -> None:
        """End a file that was begun, and take no more.

        Raises:
            OSError: the file cannot be written.
        """
        if self._size and self._waiting:
            self._append(self._encoder.cut(self._waiting[0][0], why).encode("ascii"))
        self.abandon()

    def abandon(self) -> None:
        """Take no more, and keep nothing that waits."""
        self.over = True
        self._waiting.clear()

    def _append(self, data: bytes) -> int:
        # Opened for each batch: a node may trace more connections than it may open files.
        with self.path.open("ab") as file:
            file.write(data)
        self._size += len(data)
        return len(data)


class QlogWriter:
    """Makes the tracers of a node's connections, and writes their files.

    Args:
        directory: where the files go, made at the first: ``<initiator's connection ID>.sqlog``, and
            ``node.sqlog`` for what belongs to no connection.
        name: of the node.
        local: the node's own socket address, for the files.
        reference: the instant that is time 0 in all files.
        reference_time: the same in ms since 1970.
        on_trouble: told once, in words, why tracing has ended.
        file_bytes, node_bytes: bounds of one file, and of all.
    """

    def __init__(
        self, directory: Path, *, name: str, local: SocketAddress, reference: Instant, reference_time: float,
        on_trouble: Callable[[str], None], file_bytes: int = FILE_BYTES, node_bytes: int = NODE_BYTES,
    ) -> None:  # fmt: skip
        self._directory = directory
        self._name, self._local = name, local
        self._reference, self._reference_time = reference, reference_time
        self._on_trouble = on_trouble
        self._file_bytes, self._room = file_bytes, node_bytes
        self._files: deque[QlogFile] = deque()
        self._made = 0
        self._over = False

    def tracer_of(self, connection_id: bytes, initiator: bool) -> QlogFile | None:
        """Return the tracer of a new connection, or of what belongs to none; None: no more are traced."""
        if self._over or self._made >= MAX_FILES:
            return None
        self._made += 1
        self._room -= _LAST_RECORD_BYTES
        encoder = Encoder(
            initiator=initiator if connection_id else None, name=self._name, local=self._local,
            group=connection_id, reference=self._reference, reference_time=self._reference_time,
        )  # fmt: skip
        file = QlogFile(self._path(connection_id), encoder, self._file_bytes)
        self._files.append(file)
        return file

    @property
    def waiting(self) -> bool:
        """Whether there is something to write."""
        return any(file.waiting for file in self._files)

    def write(self, most: int = 1 << 62) -> None:
        """Write at most ``most`` events of one connection: a slice short enough to be put between others.

        A trouble ends tracing, and never raises.
        """
        for _ in range(len(self._files)):
            file = self._files[0]
            self._files.rotate(-1)
            if not file.waiting:
                continue
            try:
                if self._room < _LEAST_BYTES:
                    self._end("the traces of this node are as large as they may be")
                    return
                self._directory.mkdir(parents=True, exist_ok=True)
                self._room -= file.write(most, self._room)
            except OSError as error:
                self._end(f"cannot write {file.path}: {error.strerror}", broken=True)
                return
            if file.over and not file.waiting:
                self._files.remove(file)
            return

    def close(self) -> None:
        """Write all that waits."""
        while self.waiting:
            self.write()

    def _path(self, connection_id: bytes) -> Path:
        # The peer chose it: another peer may have chosen the same.
        name = connection_id.hex() or "node"
        path = self._directory / f"{name}.sqlog"
        taken = {file.path for file in self._files}
        count = 1
        while path in taken or path.exists():
            count += 1
            path = self._directory / f"{name}-{count}.sqlog"
        return path

    def _end(self, why: str, *, broken: bool = False) -> None:
        self._over = True
        for file in self._files:
            if broken:
                file.abandon()
            else:
                file.cut(why)
        self._files.clear()
        self._on_trouble(f"tracing has ended: {why}")
