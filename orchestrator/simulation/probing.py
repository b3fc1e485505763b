"""Sends measuring streams over simulated links: frames like any other, on virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from node.measuring.frames import frame_number, probe_frame
from node.measuring.streams import Arrival, Burst, Observed, Stream
from node.protocol.time import Duration, Instant
from orchestrator.measure.prober import Limits
from orchestrator.simulation.network import Network
from orchestrator.simulation.packet import ETHERNET_BYTES, Packet, injected
from orchestrator.topology.model import LinkEndpoint

#: Real MAC addresses matter to nobody here.
_MACS = {"source": bytes(6), "destination": bytes(6)}


class SimulatedProber:
    """Probes the links of a simulated network.

    Args:
        network: whose links.
        mtus: of each direction, by the end that sends.
        sleep: lets virtual time pass.
    """

    exact = True
    limits = Limits()

    def __init__(
        self,
        network: Network,
        mtus: Mapping[str, int],
        sleep: Callable[[Duration], Awaitable[None]],
    ) -> None:
        self._network = network
        self._ends = {str(end): end for end in network.directions}
        self._mtus = mtus
        self._sleep = sleep
        self._stream = 0

    async def send(self, streams: Mapping[str, Stream], *, linger: int) -> Mapping[str, Observed]:
        """Send all streams at the same time, and return what became of them."""
        self._stream = (self._stream + 1) % 256
        found: dict[str, Observed] = {}
        lasting = 0
        for end, stream in streams.items():
            observed = found[end] = Observed(stream)
            direction = self._network.directions[self._ends[end]]
            direction.taps.append(partial(self._see, observed, self._stream, self._mtus[end]))
            for number in range(stream.count):
                at = self._network.scheduler.now + number * stream.interval
                self._network.scheduler.at(at, self._depart, (self._ends[end], observed, number))
            lasting = max(lasting, stream.count * stream.interval)
        await self._sleep(lasting + linger)
        for end in streams:
            self._network.directions[self._ends[end]].taps.pop()
        return found

    async def burst(self, ends: Sequence[str]) -> Mapping[str, Burst]:
        """Return nothing: simulated nodes have no kernel that could leave a burst whole."""
        return {}

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def _depart(self, what: tuple[LinkEndpoint, Observed, int]) -> None:
        end, observed, number = what
        observed.departures.append(self._network.scheduler.now)
        frame = probe_frame(number, observed.stream.size, stream=self._stream, **_MACS)
        self._network.directions[end].send(injected(frame))

    @staticmethod
    def _see(observed: Observed, stream: int, mtu: int, at: Instant, delivered: bool, packet: Packet) -> None:
        if not delivered or packet.frame is None:
            return
        number = frame_number(packet.frame, stream=stream)
        if number is not None:
            whole = probe_frame(number, observed.stream.size, stream=stream, **_MACS)
            observed.arrivals.append(Arrival(number, at, damaged=packet.frame != whole))
            observed.oversize += len(packet.frame) > mtu + ETHERNET_BYTES
