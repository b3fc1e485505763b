"""What is known of paths from earlier connections (SPEC 8-7).

The idea is careful resume's (draft-ietf-tsvwg-careful-resume): a known path need not be found out anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from node.protocol.states import ConnectionState
from node.protocol.time import SECOND, Duration, Instant

if TYPE_CHECKING:
    from node.protocol.connection import Connection

#: Paths remembered; the one noted longest ago makes room.
MAX_PATHS = 256
#: A path is forgotten after this long.
LIFETIME: Duration = 3600 * SECOND
#: The path is taken for the same if its round trip is between half of what it was and ten times that.
MIN_RTT_DIVISOR = 2
MAX_RTT_FACTOR = 10
#: The part of the remembered window that is taken at once.
JUMP_DIVISOR = 2

#: The peer's node address, and the host it is at.
_Key: TypeAlias = tuple[int, str]


@dataclass(frozen=True, slots=True)
class RememberedPath:
    """A path as a connection has seen it."""

    #: Smallest round trip, ns.
    rtt: Duration
    #: The most that was delivered lately, bytes a second.
    bandwidth: int
    noted: Instant

    @property
    def product(self) -> int:
        """Its bandwidth-delay product, bytes."""
        return self.bandwidth * self.rtt // SECOND

    def window(self, rtt: Duration, *, now: Instant) -> int:
        """Return the window to begin with; 0: it is too old, or the path seems to be another.

        Args:
            rtt: of the new connection.
        """
        if now - self.noted > LIFETIME:
            return 0
        if not self.rtt // MIN_RTT_DIVISOR <= rtt <= self.rtt * MAX_RTT_FACTOR:
            return 0
        return self.product // JUMP_DIVISOR


class PathMemory:
    """The paths of one endpoint."""

    def __init__(self) -> None:
        self._paths: dict[_Key, RememberedPath] = {}

    def look(self, connection: Connection) -> None:
        """Something happened to a connection: note its path, or let it begin with what is known of it."""
        if connection.parameters is None or connection.state is ConnectionState.RESPONDING:
            return
        key, recovery = (connection.peer_address, connection.remote[0]), connection.recovery
        if not recovery.is_resumed:
            recovery.resume(self._paths.get(key))
            return
        rate, known = recovery.rate, self._paths.get(key)
        # A connection that had little to send says nothing against a path that carried more.
        if known is not None and rate.peak < known.bandwidth and rate.delivered < 2 * known.product:
            return
        self._paths.pop(key, None)  # the newest stands last, so that the first is the one to go
        self._paths[key] = RememberedPath(recovery.rtt.min_rtt, rate.peak, recovery.last_sent)
        if len(self._paths) > MAX_PATHS:
            del self._paths[next(iter(self._paths))]

    def __len__(self) -> int:
        return len(self._paths)
