"""A small NAT router on virtual time: who is behind it is seen as its outer address and a port.

Mappings depend on the endpoint spoken to (symmetric): each (inner source, destination) has its own, as
Linux's conntrack and MASQUERADE make them. A mapping that carries nothing for the time-out is forgotten,
and what comes for it from outside is dropped until the inside speaks again.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from node.protocol.datagrams import SocketAddress
from node.protocol.time import Duration, Instant

#: Ports given where the inner one is taken, or at random: above the well-known ones.
PORTS = range(1024, 65_536)
#: Mappings that are kept; a real router's table is of this order, and a test that fills it means to.
MAX_MAPPINGS = 65_536


@dataclass(slots=True)
class Mapping:
    """What stands for one inner source towards one destination."""

    inner: SocketAddress
    remote: SocketAddress
    port: int
    used: Instant


class NatTable:
    """The mappings of one router.

    Args:
        outer: its outer address.
        timeout: how long an idle mapping is kept, ns.
        random_ports: give ports at random, instead of the inner one where it is free.
        rng: where those come from.
    """

    def __init__(self, outer: str, *, timeout: Duration, random_ports: bool, rng: Random) -> None:
        self.outer = outer
        self.timeout = timeout
        self._random_ports = random_ports
        self._rng = rng
        self._outbound: dict[tuple[SocketAddress, SocketAddress], Mapping] = {}
        self._inbound: dict[tuple[int, SocketAddress], Mapping] = {}

    def outward(
        self, source: SocketAddress, destination: SocketAddress, *, now: Instant
    ) -> SocketAddress | None:
        """Return the source that the outside sees; None: there is no port left for it."""
        mapping = self._live(self._outbound.get((source, destination)), now)
        if mapping is None:
            port = self._free_port(source[1], destination, now)
            if port is None or len(self._outbound) >= MAX_MAPPINGS:
                return None
            mapping = Mapping(source, destination, port, now)
            self._outbound[source, destination] = mapping
            self._inbound[port, destination] = mapping
        mapping.used = now
        return self.outer, mapping.port

    def inward(self, source: SocketAddress, port: int, *, now: Instant) -> SocketAddress | None:
        """Return who is behind ``port`` for this outer source; None: nobody, drop it."""
        mapping = self._live(self._inbound.get((port, source)), now)
        if mapping is None:
            return None
        mapping.used = now
        return mapping.inner

    def flush(self) -> int:
        """Forget all mappings; return how many there were."""
        count = len(self._outbound)
        self._outbound.clear()
        self._inbound.clear()
        return count

    def _live(self, mapping: Mapping | None, now: Instant) -> Mapping | None:
        if mapping is not None and now - mapping.used >= self.timeout:
            del self._outbound[mapping.inner, mapping.remote]
            del self._inbound[mapping.port, mapping.remote]
            return None
        return mapping

    def _free_port(self, wanted: int, remote: SocketAddress, now: Instant) -> int | None:
        def is_free(port: int) -> bool:
            return self._live(self._inbound.get((port, remote)), now) is None

        if not self._random_ports and is_free(wanted):
            return wanted
        start = self._rng.randrange(len(PORTS))
        return next((port for port in (*PORTS[start:], *PORTS[:start]) if is_free(port)), None)
