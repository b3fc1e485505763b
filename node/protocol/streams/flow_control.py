"""Credit: how much the peer may send us, and we it (RFC 9000 §4)."""

from __future__ import annotations

from node.protocol.errors import ErrorCode, RemoteProtocolError
from node.protocol.time import SECOND, Duration, Instant

#: SPEC 6.3-2: the connection's window is at least so many halves of its widest stream's.
HALVES_OF_STREAM = 3


#: SPEC 6.3-5: windows begin as wide as a round trip of the handshake needs at this rate, bytes a second ...
LONG_PATH_RATE = 100_000_000
#: ... but a peer can let its answer wait: a longer round trip counts no more than this, and widening takes
#: at most such a part of what all connections have left to grow into.
LONGEST_ROUND_TRIP: Duration = 2 * SECOND
LONG_PATH_SHARE = 4


def window_of_path(rtt: Duration) -> int:
    """Return the window that a path of this round trip begins with, in bytes."""
    return min(rtt, LONGEST_ROUND_TRIP) * LONG_PATH_RATE // SECOND


class WindowBudget:
    """Memory that all connections of an endpoint may let their windows grow into (SPEC 6.3-4)."""

    __slots__ = ("left",)

    def __init__(self, size: int) -> None:
        #: Bytes that no window has taken.
        self.left = size

    def take(self, wanted: int) -> int:
        """Take as much of ``wanted`` as is left, and return it."""
        taken = min(wanted, self.left)
        self.left -= taken
        return taken

    def give_back(self, taken: int) -> None:
        """Give back what a connection took that is over."""
        self.left += taken


class ReceiveWindow:
    """The credit we give, for one stream or the whole connection; it grows with the path (SPEC 6.3-3).

    Args:
        size: bytes that may be on the way beyond what the application has read, at first.
        most: bytes that it may grow to; None: it stays as it is.
        budget: what growth is taken from, where it is shared.
    """

    __slots__ = (
        "_announced_at",
        "_announced_consumed",
        "_budget",
        "consumed",
        "grown",
        "maximum",
        "most",
        "size",
    )

    def __init__(self, size: int, most: int | None = None, budget: WindowBudget | None = None) -> None:
        self.size = size
        self.most = size if most is None else most
        #: Bytes that it has grown by.
        self.grown = 0
        #: Bytes the application has read.
        self.consumed = 0
        #: The offset announced to the peer.
        self.maximum = size
        self._budget = budget
        self._announced_at: Instant | None = None
        self._announced_consumed = 0

    def consume(self, count: int) -> bool:
        """Note that the application read ``count`` bytes; True: it is time to announce anew."""
        self.consumed += count
        # SPEC 6.2-7. A quarter of a window: few updates, and a sender that the window limits is left with
        # three quarters of it on the way. At half, what came just before the mark waited a round trip more.
        return self.maximum - self.consumed <= self.size * 3 // 4

    def raise_maximum(self, *, rtt: Duration, now: Instant) -> int:
        """Move the maximum on, and return it; the window grows first if it was used up fast (SPEC 6.3-1)."""
        if self._announced_at is not None and self.size < self.most:
            read, elapsed = self.consumed - self._announced_consumed, now - self._announced_at
            if read * 2 * rtt > self.size * elapsed:  # at this rate a window lasts less than two round trips
                self.grow_to(2 * self.size)
        self._announced_at, self._announced_consumed = now, self.consumed
        self.maximum = max(self.maximum, self.consumed + self.size)
        return self.maximum

    def begin_with(self, size: int) -> bool:
        """Widen the window for a long path before anything was read; True: there is something to announce."""
        before = self.size
        if self._budget is not None:
            size = min(size, self.size + self._budget.left // LONG_PATH_SHARE)
        self.grow_to(size)
        self.maximum = max(self.maximum, self.consumed + self.size)
        return self.size > before

    def grow_to(self, size: int) -> None:
        """Widen the window, within its bounds."""
        wanted = min(size, self.most) - self.size
        if wanted > 0:
            taken = wanted if self._budget is None else self._budget.take(wanted)
            self.size += taken
            self.grown += taken


class ConnectionCredit:
    """The windows of a whole connection, ours and the peer's, and what of them is used (SPEC 6-2).

    Args:
        size, most, budget: as of the window of what the peer may send.
    """

    __slots__ = ("_peer_maximum", "_received", "_sent", "window")

    def __init__(self, size: int, most: int | None = None, budget: WindowBudget | None = None) -> None:
        self.window = ReceiveWindow(size, most, budget)
        #: Sum of the highest offsets of all streams: received, and sent.
        self._received = 0
        self._sent = 0
        self._peer_maximum = 0

    @property
    def to_send(self) -> int:
        """New stream bytes that the peer still takes."""
        return self._peer_maximum - self._sent

    @property
    def to_receive(self) -> int:
        """Stream bytes that the peer may still send us."""
        return self.window.maximum - self._received

    def take(self, count: int) -> None:
        """Count new stream bytes of the peer.

        Raises:
            RemoteProtocolError: they are more than it was allowed.
        """
        self._received += count
        if self._received > self.window.maximum:
            raise RemoteProtocolError(ErrorCode.FLOW_CONTROL, "data beyond the connection's window")

    def on_sent(self, fresh: int) -> None:
        """Count stream bytes sent for the first time."""
        self._sent += fresh

    def set_peer_maximum(self, maximum: int) -> None:
        """Take over the window of the peer's transport parameters."""
        self._peer_maximum = maximum

    def raise_peer_maximum(self, maximum: int) -> None:
        """The peer extends its window (MAX_DATA)."""
        self._peer_maximum = max(self._peer_maximum, maximum)
