"""Writes the traces of an agent's connections while the node has nothing better to do (SPEC 16-3).

Encoding is the dear part, and the event loop is what packets wait for: so it is done in slices of a
millisecond, with the loop's turn between two of them. A thread would not help, as it would hold the
interpreter just as long and at times of its own choosing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from node.protocol.datagrams import SocketAddress
from node.qlog.writer import QlogFile, QlogWriter

_logger = logging.getLogger(__name__)

#: Seconds between two looks for something to write, and between two slices while there is more.
IDLE_SECONDS = 0.1
PAUSE_SECONDS = 0.002
#: How long a slice may take, and the events that are written before the clock is asked again.
SLICE_NS = 1_000_000
EVENTS_AT_ONCE = 32


class TraceFiles:
    """The qlog files of one agent.

    Args:
        directory: where they go.
        name: of the node.
        local: the node's socket address.
    """

    def __init__(self, directory: Path, *, name: str, local: SocketAddress) -> None:
        self._writer = QlogWriter(
            directory,
            name=name,
            local=local,
            reference=time.monotonic_ns(),
            reference_time=time.time_ns() // 1000 / 1000,
            on_trouble=lambda why: _logger.warning("%s", why),
        )
        self._timer: asyncio.TimerHandle | None = None

    def tracer_of(self, connection_id: bytes, initiator: bool) -> QlogFile | None:
        """Return the tracer of a new connection."""
        return self._writer.tracer_of(connection_id, initiator)

    def start(self) -> None:
        """Write from now on, on the running event loop."""
        self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._slice)

    def close(self) -> None:
        """Write all that waits, and stop."""
        if self._timer is not None:
            self._timer.cancel()
        self._writer.close()

    def _slice(self) -> None:
        writer, end = self._writer, time.monotonic_ns() + SLICE_NS
        while writer.waiting and time.monotonic_ns() < end:
            writer.write(EVENTS_AT_ONCE)
        pause = PAUSE_SECONDS if writer.waiting else IDLE_SECONDS
        self._timer = asyncio.get_running_loop().call_later(pause, self._slice)
