"""Measures real links with raw sockets at both of their ends, all opened by this process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from node.measuring.bursts import send_bursts
from node.measuring.ends import End
from node.measuring.session import Session
from node.measuring.streams import Burst, Observed, Stream
from node.measuring.waiting import with_each
from orchestrator.errors import ProbeError


class PacketProber:
    """Probes real links.

    Args:
        ends: by name, as ``lisbon:eth1``.
        opposite: the name of the other end of each end's link.
    """

    exact = False

    def __init__(self, ends: Mapping[str, End], opposite: Mapping[str, str]) -> None:
        self._ends = ends
        self._opposite = opposite
        self._stream = 0

    async def send(self, streams: Mapping[str, Stream], *, linger: int) -> Mapping[str, Observed]:
        """Send all streams at the same time, and return what became of them.

        Raises:
            ProbeError: a frame cannot be sent or received.
        """
        self._stream = (self._stream + 1) % 256
        session = Session(self._ends, self._opposite, streams, self._stream)
        try:
            return await asyncio.to_thread(session.run, linger)
        except OSError as error:
            raise ProbeError(f"the links cannot be measured: {error.strerror or error}") from error

    async def burst(self, ends: Sequence[str]) -> Mapping[str, Burst]:
        """Have the kernel of each end's node split one large burst; return what was seen of it, by end.

        Raises:
            ProbeError: the links' frames cannot be seen.
        """
        try:
            return await asyncio.to_thread(send_bursts, self._ends, self._opposite, ends)
        except OSError as error:
            raise ProbeError(f"bursts cannot be seen: {error.strerror or error}") from error

    def close(self) -> None:
        """Close all sockets."""
        with_each(End.close, self._ends.values())
