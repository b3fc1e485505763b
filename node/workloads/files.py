"""Files: several files, or generated ones, on one connection at once, each on a stream of its own.

Where the transport has one stream only, as TCP, they go one after the other on it. The target keeps each as a
file of its own and reports size and SHA-256 of each at the end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import ClassVar

from node.protocol.time import Instant
from node.workloads.base import (
    CHUNK_BYTES,
    MAX_FLOW_BYTES,
    MAX_REPORT_BYTES,
    WORKLOADS,
    ByteSink,
    ByteSource,
    Data,
    Digest,
    FlowStream,
    Outcome,
    Resources,
    Side,
    WorkloadError,
    check_names,
)

OPTIONS = ("sizes", "files", "seed")
#: Files of one flow: their sizes must fit in the flow's header, and their sums in a report.
MAX_FILES = 64
#: The number of the file that a stream carries, from 1, before its bytes.
NUMBER_BYTES = 2


@WORKLOADS.register("files")
class Files:
    """Moves ``files``, or generated ones of ``sizes`` bytes."""

    name: ClassVar[str] = "files"

    @staticmethod
    def source(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the sending side."""
        check_names(options, OPTIONS)
        seed = options.get("seed", options.get("flow", ""))
        sources: list[ByteSource] = []
        try:
            if "files" in options:
                wanted = [{"file": name} for name in _listed(options, "files")]
            else:
                wanted = [
                    {"size": size, "seed": generated_file_seed(seed, number)}
                    for number, size in enumerate(_sizes(options, "sizes"), start=1)
                ]
            for one in wanted:  # one by one: those before a missing file are to be closed again
                source = resources.source_of({"flow": options["flow"], **one})
                sources.append(source)
        except WorkloadError:
            for source in sources:
                source.close()
            raise
        return FilesSource(sources)

    @staticmethod
    def target(options: Mapping[str, object], resources: Resources) -> Side:
        """Return the receiving side; ``sizes`` without ``files`` is what it insists on."""
        check_names(options, OPTIONS)
        insisted = None if "files" in options else _sizes(options, "sizes")
        return FilesTarget(str(options["flow"]), resources, insisted)


def generated_file_seed(seed: object, number: int) -> str:
    """Return the seed of a flow's generated file, numbered from 1."""
    return f"{seed}/{number}"


class _Sending:
    """A file on its way."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.digest = Digest()
        #: None: no stream was to be had yet.
        self.stream: FlowStream | None = None
        self.written = False


class FilesSource(Side):
    """Sends all files, then waits for the target's report."""

    multiplexed = True

    def __init__(self, sources: list[ByteSource]) -> None:
        self._files = [_Sending(source) for source in sources]
        self._report = bytearray()
        self._stream: FlowStream | None = None

    def announcement(self) -> Mapping[str, object]:
        """Tell the target how many bytes each file has."""
        return {"sizes": [file.source.size for file in self._files]}

    def start(self, stream: FlowStream, *, now: Instant) -> None:
        """Write the first chunks of each."""
        self._stream = stream
        self.writing = True
        self.on_writable(now=now)

    def on_writable(self, *, now: Instant) -> None:
        """Write the next chunks: each file has a turn."""
        assert self._stream is not None
        waiting = [(number, file) for number, file in enumerate(self._files, start=1) if not file.written]
        if not self._stream.multiplexed:
            waiting = waiting[:1]
        for number, file in waiting:
            if file.stream is None:
                file.stream = self._stream.open() if self._stream.multiplexed else self._stream
                if file.stream is None:
                    break
                if file.stream is not self._stream:
                    file.stream.write(number.to_bytes(NUMBER_BYTES, "big"), end=not file.source.size)
            self._write(file, file.stream)
        self.writing = not all(file.written for file in self._files)
        if not self.writing:
            self._stream.write(b"", end=True)

    def _write(self, file: _Sending, stream: FlowStream) -> None:
        size = file.source.size
        while file.digest.size < size and stream.wants_more():
            chunk = file.source.read(file.digest.size, min(CHUNK_BYTES, size - file.digest.size))
            file.digest.update(chunk)
            stream.write(chunk, end=file.digest.size == size and stream is not self._stream)
        file.written = file.digest.size == size

    def receive(self, data: Data, *, ended: bool, now: Instant) -> None:
        """Take the target's report."""
        if len(self._report) + len(data) > MAX_REPORT_BYTES:
            raise WorkloadError(f"the target's report is longer than {MAX_REPORT_BYTES} bytes")
        self._report += data
        if not ended or self.outcome is not None:
            return
        try:
            said = json.loads(self._report)
        except (ValueError, RecursionError):
            raise WorkloadError("the target's report is not JSON") from None
        sums = [file.digest.hexdigest() for file in self._files]
        moved, total = sum(file.digest.size for file in self._files), _sum_of(sums)
        error = "" if said == {"sha256": sums} else f"the target has {said!r:.300}, sent were {sums}"
        results = {"files": _described(self._files)}
        self.abort()
        self.outcome = Outcome(ok=not error, error=error, bytes=moved, sha256=total, results=results)

    def progress(self) -> tuple[int, int | None]:
        """Return bytes written less those still waiting, and all there are."""
        moved = sum(
            file.digest.size - min(file.digest.size, file.stream.backlog())
            for file in self._files
            if file.stream is not None
        )
        return moved, sum(file.source.size for file in self._files)

    def abort(self) -> None:
        """Let go of the files."""
        for file in self._files:
            file.source.close()


class _Receiving:
    """A file as it comes."""

    def __init__(self, size: int, sink: ByteSink) -> None:
        self.size = size
        self.sink = sink
        self.digest = Digest()
        self.whole = False

    def take(self, data: Data) -> None:
        """Hash and keep the next bytes; the last make it whole."""
        if self.digest.size + len(data) > self.size:
            raise WorkloadError(f"more bytes than the {self.size} announced of a file")
        if data:
            self.digest.update(data)
            self.sink.write(data)
        if self.digest.size == self.size and not self.whole:
            self.sink.finish()
            self.whole = True


class FilesTarget(Side):
    """Gives each file to a sink of its own, then reports."""

    multiplexed = True

    def __init__(self, flow: str, resources: Resources, insisted: list[int] | None) -> None:
        self._flow = flow
        self._resources = resources
        self._sizes = insisted
        self._files: list[_Receiving] = []
        #: Which file a stream carries, and the bytes of its number that have come.
        self._on_streams: dict[int, _Receiving] = {}
        self._numbers: dict[int, bytearray] = {}
        self._stream: FlowStream | None = None
        self._ended = False

    def accept(self, announcement: Mapping[str, object]) -> None:
        """Take the sizes; refuse those that are not what this side was told to expect."""
        sizes = _sizes(announcement, "sizes")
        if self._sizes is not None and sizes != self._sizes:
            raise WorkloadError(f"sizes: found {sizes}, expected {self._sizes}")
        self._sizes = sizes

    def start(self, stream: FlowStream, *, now: Instant) -> None:
        """Open the sinks."""
        assert self._sizes is not None
        self._stream = stream
        for number, size in enumerate(self._sizes, start=1):
            sink = self._resources.sink_of({"flow": f"{self._flow}/{number}"})
            self._files.append(_Receiving(size, sink))
            self._files[-1].take(b"")

    def receive(self, data: Data, *, ended: bool, now: Instant) -> None:
        """Take files that come in line, and the end."""
        rest = memoryview(data)
        while rest:
            file = next((file for file in self._files if not file.whole), None)
            if file is None:
                raise WorkloadError("more bytes than were announced")
            part = rest[: file.size - file.digest.size]
            file.take(part)
            rest = rest[len(part) :]
        self._ended = self._ended or ended
        self._report_if_done()

    def receive_other(self, stream: FlowStream, data: Data, *, ended: bool, now: Instant) -> None:
        """Take the next bytes of a file on a stream of its own."""
        file = self._on_streams.get(stream.stream_id)
        rest = memoryview(data)
        if file is None:
            number = self._numbers.setdefault(stream.stream_id, bytearray())
            missing = NUMBER_BYTES - len(number)
            number += rest[:missing]
            rest = rest[missing:]
            if len(number) < NUMBER_BYTES:
                if ended:
                    raise WorkloadError("a stream ended before it said which file it carries")
                return
            file = self._begin(stream, int.from_bytes(number, "big"))
        file.take(rest)
        if ended:
            if not file.whole:
                raise WorkloadError(f"a stream ended after {file.digest.size} of {file.size} bytes")
            stream.write(b"", end=True)
        self._report_if_done()

    def _begin(self, stream: FlowStream, number: int) -> _Receiving:
        del self._numbers[stream.stream_id]
        if not 1 <= number <= len(self._files):
            raise WorkloadError(f"file {number} of {len(self._files)}")
        file = self._files[number - 1]
        if file in self._on_streams.values():
            raise WorkloadError(f"file {number} came twice")
        self._on_streams[stream.stream_id] = file
        return file

    def _report_if_done(self) -> None:
        assert self._stream is not None
        if not self._ended or self.outcome is not None or not all(file.whole for file in self._files):
            return
        sums = [file.digest.hexdigest() for file in self._files]
        self._stream.write(json.dumps({"sha256": sums}).encode(), end=True)
        moved = sum(file.size for file in self._files)
        results = {"files": _described(self._files)}
        self.outcome = Outcome(ok=True, bytes=moved, sha256=_sum_of(sums), results=results)

    def progress(self) -> tuple[int, int | None]:
        """Return bytes received, and how many there will be once known."""
        total = sum(self._sizes) if self._sizes is not None else None
        return sum(file.digest.size for file in self._files), total

    def abort(self) -> None:
        """Throw away files that are not whole."""
        for file in self._files:
            if not file.whole:
                file.sink.abort()


def _described(files: list[_Sending] | list[_Receiving]) -> list[dict[str, object]]:
    return [{"bytes": file.digest.size, "sha256": file.digest.hexdigest()} for file in files]


def _sum_of(sums: list[str]) -> str:
    """Return one SHA-256 for all: over theirs, in order."""
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def _listed(options: Mapping[str, object], name: str) -> list[object]:
    value = options.get(name, [100_000])
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_FILES:
        raise WorkloadError(f"{name}: found {value!r:.100}, must be a list of 1 to {MAX_FILES}")
    return list(value)


def _sizes(options: Mapping[str, object], name: str) -> list[int]:
    sizes: list[int] = []
    for value in _listed(options, name):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_FLOW_BYTES:
            raise WorkloadError(
                f"{name}: found {value!r:.100}, must be a whole number from 0 to {MAX_FLOW_BYTES}"
            )
        sizes.append(value)
    return sizes
