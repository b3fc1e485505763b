"""Measures real links with raw sockets at both of their ends, all opened by this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from node.measuring.bursts import (
    SEGMENTS,
    WAIT_SECONDS,
    Place,
    count_burst,
    count_oversize,
    frames_seen,
    send_burst,
    watch,
)
from node.measuring.ends import End
from node.measuring.session import Session
from node.measuring.streams import Burst, Observed, Stream
from node.measuring.waiting import with_each
from orchestrator.errors import ProbeError
from orchestrator.measure.prober import Limits


class PacketProber:
    """Probes real links.

    Args:
        ends: by name, as ``lisbon:eth1``.
        opposite: the name of the other end of each end's link.
    """

    exact = False
    limits = Limits()

    def __init__(self, ends: Mapping[str, End], opposite: Mapping[str, str]) -> None:
        self._ends = ends
        self._opposite = opposite
        self._number = 0

    async def send(self, streams: Mapping[str, Stream], *, linger: int) -> Mapping[str, Observed]:
        """Send all streams at the same time, and return what became of them.

        Raises:
            ProbeError: a frame cannot be sent or received.
        """
        self._number = (self._number + 1) % 256
        session = Session(
            streams,
            number=self._number,
            sources={end: self._ends[end] for end in streams},
            targets={end: self._ends[self._opposite[end]] for end in streams},
        )
        session.begin()
        session.end(linger)
        try:
            return await asyncio.to_thread(session.run)
        except OSError as error:
            raise ProbeError(f"the links cannot be measured: {error.strerror or error}") from error

    async def burst(self, ends: Sequence[str]) -> Mapping[str, Burst]:
        """Have the kernel of each end's node split one large burst; return what was seen of it, by end.

        Raises:
            ProbeError: the links' frames cannot be seen.
        """
        try:
            return await asyncio.to_thread(self._send_bursts, ends)
        except OSError as error:
            raise ProbeError(f"bursts cannot be seen: {error.strerror or error}") from error

    async def close(self) -> None:
        """Close all sockets."""
        await asyncio.to_thread(with_each, End.close, self._ends.values())

    def _send_bursts(self, senders: Sequence[str]) -> dict[str, Burst]:
        ends, opposite = self._ends, self._opposite
        watched = list(dict.fromkeys(name for sender in senders for name in (sender, opposite[sender])))
        places: list[Place] = [(ends[name].everything, ends[name].interface) for name in watched]
        places += [(ends[name].passing, ends[name].passing_interface) for name in watched]
        with_each(watch, places)
        ports = {sender: send_burst(ends[sender], ends[opposite[sender]].address) for sender in senders}
        sent = {sender: port for sender, port in ports.items() if port is not None}
        time.sleep(WAIT_SECONDS if sent else 0)
        seen = with_each(frames_seen, places)
        at_nodes = dict(zip(watched, seen[: len(watched)], strict=True))
        on_links = dict(zip(watched, seen[len(watched) :], strict=True))
        found = {}
        for sender, port in sent.items():
            passed = on_links[sender]
            target = opposite[sender]
            found[sender] = Burst(
                SEGMENTS,
                at_sender=count_burst(at_nodes[sender] or [], port, outgoing=True),
                on_link=None if passed is None else count_burst(passed, port, outgoing=False),
                oversize=count_oversize(at_nodes[target] or [], ends[target].mtu),
            )
        return found
