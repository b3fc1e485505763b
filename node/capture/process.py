"""The capture process: rings in, one pcapng file out, until it is told to stop."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from node.capture.pcapng import MAX_SNAPLEN, CaptureError, Writer
from node.capture.ring import RETIRE_MS, PacketRing

#: Enough for 0.12 s of a link at 1 Gbit/s while we are not scheduled.
RING_MIB = 16
#: At the end the kernel hands over the last block within its retire time; this is that, with a wide margin.
_LAST_BLOCK_MARGIN_SECONDS = 9 * RETIRE_MS / 1000


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """What to capture, and where to."""

    interfaces: tuple[str, ...]
    #: None: standard output.
    output: Path | None
    #: Bytes kept of each frame.
    snaplen: int = MAX_SNAPLEN
    #: ``in``: frames that arrive; ``both``: those that this machine sends through the interfaces, too.
    direction: str = "in"
    #: Memory of each interface's ring, in MiB.
    ring_mib: int = RING_MIB
    #: A block that is not full is handed over after so many milliseconds.
    retire_ms: int = RETIRE_MS
    #: Stored in the file as its comment.
    comment: str = ""
    #: End by itself after this long; None: when it is told to.
    seconds: float | None = None


def run_capture(settings: CaptureSettings) -> dict[str, object]:
    """Capture until SIGTERM or SIGINT, until no interface is left, or until the reader of a pipe has gone.

    Returns what goes to stderr.

    The output file has its header as soon as all interfaces are being captured: whoever waits for us
    waits for that.

    Raises:
        CaptureError: it cannot start, or the disk is full (the file then ends with the last whole block).
    """
    process = _Process(settings)
    try:
        process.start()
        process.run()
        return process.report()
    except BrokenPipeError:
        # Whoever read has seen enough.
        return process.counts()
    finally:
        process.close()


class _Process:
    def __init__(self, settings: CaptureSettings) -> None:
        self._settings = settings
        self._frames = 0
        self._rings: list[PacketRing] = []
        self._wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            # Only the byte on the wake-up socket counts.
            signal.signal(number, lambda *_: None)
        self._output: _OutputFile | _Stdout | None = None

    def start(self) -> None:
        settings = self._settings
        for number, interface in enumerate(settings.interfaces):
            self._rings.append(
                PacketRing(
                    interface,
                    number,
                    snaplen=settings.snaplen,
                    ring_bytes=settings.ring_mib << 20,
                    outgoing=settings.direction == "both",
                    retire_ms=settings.retire_ms,
                )
            )
        self._output = _Stdout() if settings.output is None else _OutputFile(settings.output)
        header = _Collector()
        writer = Writer(header, comment=settings.comment, application="narrows capture")
        for interface in settings.interfaces:
            writer.add_interface(interface, snaplen=settings.snaplen)
        # In one write: a waiting reader finds all of the header or nothing.
        self._output.write(b"".join(header.parts))

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        left = {ring.fileno(): ring for ring in self._rings}
        for descriptor in left:
            poll.register(descriptor, select.POLLIN)
        if self._settings.output is None:
            # Nothing is asked for, but the end of whoever reads is told: no frame may come for hours.
            poll.register(sys.stdout.fileno(), 0)
        seconds = self._settings.seconds
        end = None if seconds is None else time.monotonic() + seconds
        while left and (end is None or time.monotonic() < end):
            for descriptor, events in poll.poll(_milliseconds_to(end)):
                if descriptor == self._wake.fileno():
                    self._drain_last()
                    return
                if descriptor not in left:
                    raise BrokenPipeError
                ring = left[descriptor]
                self._drain(ring)
                if events & ~select.POLLIN and not ring.clear_error():
                    poll.unregister(descriptor)
                    del left[descriptor]
        # Of an interface that has just gone the ring may hold a block that the kernel still fills.
        self._drain_last()

    def report(self) -> dict[str, object]:
        """End the file with the statistics and return what goes to stderr."""
        statistics = _Collector()
        writer = Writer(statistics)
        for ring in self._rings:
            ring.count()
            writer.add_interface(ring.interface)
        statistics.parts.clear()
        for number, ring in enumerate(self._rings):
            writer.write_statistics(number, time.time_ns(), received=ring.received, dropped=ring.dropped)
        assert self._output is not None
        self._output.write(b"".join(statistics.parts))
        return self.counts()

    def counts(self) -> dict[str, object]:
        """Return what goes to stderr."""
        interfaces = {
            ring.interface: {"received": ring.received, "dropped": ring.dropped} for ring in self._rings
        }
        file = "-" if self._settings.output is None else str(self._settings.output)
        return {"file": file, "frames": self._frames, "interfaces": interfaces}

    def close(self) -> None:
        for ring in self._rings:
            ring.close()
        if self._output is not None:
            self._output.close()
        signal.set_wakeup_fd(-1)
        self._wake.close()
        self._waker.close()

    def _drain(self, ring: PacketRing) -> None:
        assert self._output is not None
        # One round of the ring at most, so that no interface keeps the others waiting for ever.
        for _ in range(ring.blocks):
            taken = ring.next_block()
            if taken is None:
                return
            encoded, count = taken
            self._output.write(encoded)
            self._frames += count

    def _drain_last(self) -> None:
        for ring in self._rings:
            ring.stop()
        deadline = time.monotonic() + self._settings.retire_ms / 1000 + _LAST_BLOCK_MARGIN_SECONDS
        while time.monotonic() < deadline:
            for ring in self._rings:
                self._drain(ring)
            time.sleep(RETIRE_MS / 1000)


def _milliseconds_to(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic()) * 1000


class _Stdout:
    """Standard output, unbuffered: a pipe to whoever shows the frames as they come."""

    def write(self, data: bytes, /) -> None:
        """Write all of ``data`` (BrokenPipeError: nobody reads any more)."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(sys.stdout.fileno(), rest) :]
            except BrokenPipeError:
                raise
            except OSError as error:
                raise CaptureError(f"standard output: {error.strerror}") from error

    def close(self) -> None:
        """It is not ours to close."""


class _OutputFile:
    """An unbuffered file that keeps whole blocks only: what does not fit is taken back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise CaptureError(f"{path}: cannot be written: {error.strerror}") from error

    def write(self, data: bytes, /) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            raise CaptureError(
                f"{self._path}: {error.strerror}: the capture ends after {self._size} bytes, "
                f"and is valid up to there"
            ) from error
        self._size += len(data)

    def close(self) -> None:
        os.close(self._descriptor)


class _Collector:
    """Takes what a Writer writes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes, /) -> None:
        self.parts.append(data)

    def close(self) -> None:
        """Nothing is open."""
