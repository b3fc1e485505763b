"""The wait of the shapers: hold packets until they are due, to some tens of µs, in one thread.

select() takes its time-out in µs where epoll and asyncio's timers take ms; a timer slack of 1 ns (the
default is 50 µs) makes the kernel wake us when asked.
"""

from __future__ import annotations

import heapq
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol, Self, TypeAlias

from node.protocol.time import SECOND, Instant
from node.shaper.lateness import Lateness

#: Lets a held packet go; called with what was held.
Release: TypeAlias = Callable[[Any], None]

#: The most that is held at once: 200 ms of 10 Gbit/s. More is a configuration that this machine cannot run.
MAX_HELD_BYTES = 256 * 1024 * 1024


class Readable(Protocol):
    """A file descriptor to wait for, or an object that has one."""

    def fileno(self) -> int:
        """Return the file descriptor."""
        ...


class Loop:
    """Holds packets, releases them when due, and calls back for what can be read.

    Enter it before anything is made that must be taken back: a signal would end the process at once.
    """

    def __init__(self) -> None:
        self._held: list[tuple[Instant, int, int, Release, Any]] = []
        self._held_bytes = 0
        self._sequence = 0
        self._readers: dict[Readable, Callable[[], None]] = {}
        self._stopping = False
        self.lateness = Lateness()
        #: What the user must know, each once.
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        """Say something loudly: on standard error now, and in every answer about counters; each once."""
        if message not in self.warnings:
            self.warnings.append(message)
            sys.stderr.write(f"narrows shaper: warning: {message}\n")
            sys.stderr.flush()

    def on_readable(self, source: Readable, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever ``source`` can be read."""
        self._readers[source] = callback

    def forget(self, source: Readable) -> None:
        """Wait for ``source`` no longer."""
        self._readers.pop(source, None)

    def hold(self, at: Instant, size: int, release: Release, item: Any) -> bool:  # Any: handed through
        """Call ``release(item)`` at ``at``; return False, and do nothing, when too much is held already."""
        held = self._held
        if (not held or at < held[0][0]) and at <= time.monotonic_ns():
            release(item)
            return True
        if self._held_bytes + size > MAX_HELD_BYTES:
            return False
        self._held_bytes += size
        self._sequence += 1
        heapq.heappush(held, (at, self._sequence, size, release, item))
        return True

    def stop(self) -> None:
        """Return from ``run`` after what is being done; held packets are lost, as in a link that is cut."""
        self._stopping = True

    def __enter__(self) -> Self:
        """From now on SIGTERM and SIGINT end ``run``, also when they come before it."""
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self.on_readable(self._woken, lambda: None)
        return self

    def __exit__(self, *_: object) -> None:
        """Wake no longer."""
        signal.set_wakeup_fd(-1)
        self.forget(self._woken)
        self._waker.close()
        self._woken.close()

    def run(self) -> None:
        """Work until ``stop`` is called or SIGTERM or SIGINT comes."""
        held, readers = self._held, self._readers
        clock = time.monotonic_ns
        while True:
            self._release_due(clock())
            if self._stopping:
                return
            timeout = max(0, held[0][0] - clock()) / SECOND if held else None
            readable, _, _ = select.select(list(readers), (), (), timeout)
            for source in readable:
                callback = readers.get(source)
                if callback is not None:
                    callback()

    def _release_due(self, now: Instant) -> None:
        held = self._held
        if held and held[0][0] <= now:
            self.lateness.note(now - held[0][0])
        while held and held[0][0] <= now:
            _, _, size, release, item = heapq.heappop(held)
            self._held_bytes -= size
            release(item)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
